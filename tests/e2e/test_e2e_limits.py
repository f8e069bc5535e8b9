"""As many connections as a server was started for: what becomes of one more, and the warning before."""

import inspect
from pathlib import Path

import pytest
from client import connect
from granian.server.embed import Server as EmbeddedServer
from granian.server.mp import MPServer
from h2client import Http2Connection
from servers import Server, granian, reserve_port, running, running_script, uvicorn

pytestmark = pytest.mark.e2e

APP = "asgi_knobs"
LIMIT = 20
PAGE = (Path(__file__).parents[2] / "docs" / "servers.md").read_text(encoding="utf-8")


async def warned(server: Server, clients: int, limit: int, consequence: str) -> None:
    """Wait for the warning, and see that there is one."""
    counted = f"{clients} SSE clients, near the limit of {limit} connections"
    assert consequence in PAGE
    await server.logged(f"{counted} (clients of HTTP/1.1 have one each): {consequence}")
    assert server.log.count("near the limit") == 1


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_granian_answers_no_more_than_its_backpressure(loop: str) -> None:
    async with running(granian(loop, "--backpressure", str(LIMIT)), APP) as server:
        streams = [await server.stream() for _ in range(17)]
        assert "near the limit" not in server.log
        streams += [await server.stream() for _ in range(LIMIT - 17)]
        await warned(server, 18, LIMIT, "granian answers no more of them (--backpressure)")

        late = (await connect(server.port)).send("GET", "/events")
        for stream in streams:
            await stream.until(lambda stream=stream: stream.size > 0)
        assert late.status is None
        streams[0].connection.close()
        await late.head()


async def test_granian_counts_idle_connections_and_counts_one_of_http2_once() -> None:
    async with running(granian("asyncio", "--backpressure", str(LIMIT)), APP) as server:
        shared = await connect(server.port, Http2Connection)
        for stream in [shared.send("GET", "/events") for _ in range(2 * LIMIT)]:
            await stream.head()
        idle = [await connect(server.port) for _ in range(LIMIT - 1)]
        for connection in idle:
            await connection.request("GET", "/status")
        late = (await connect(server.port)).send("GET", "/status")
        for connection in idle:
            await connection.request("GET", "/status")
        assert late.status is None
        idle[0].close()
        await late.end()


async def test_uvicorn_refuses_more_than_its_limit() -> None:
    async with running(uvicorn("asyncio", "h11", "--limit-concurrency", str(LIMIT)), APP) as server:
        for _ in range(LIMIT - 1):
            await server.stream()
        await warned(server, 18, LIMIT, "uvicorn answers more of them with 503 (--limit-concurrency)")
        late = await (await connect(server.port)).send("GET", "/events").head()
        assert late.status == 503


async def test_the_limit_of_fastwares_server_in_a_thread() -> None:
    limit = default_backlog(EmbeddedServer)
    with reserve_port() as holder:
        port = holder.getsockname()[1]
        async with running_script("in_thread", [port]) as server:
            await server.accepts(port)
            for _ in range(116):
                await server.stream()
            await warned(server, 116, limit, "granian answers no more of them (--backpressure)")


def test_the_documented_defaults() -> None:
    """Those of fastware's serve(), in the foreground and in a thread; docs/servers.md tells them."""
    assert (default_backlog(MPServer), default_backlog(EmbeddedServer)) == (1024, 128)


def default_backlog(server: type) -> int:
    """What a granian that was told of no limit takes for it."""
    return inspect.signature(server).parameters["backlog"].default
