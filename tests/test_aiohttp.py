"""aiohttp's response, which writes the stream itself, in a server on the test's own loop."""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from support import message, permissive, turns

from fastware_sse import Broadcaster
from fastware_sse.aiohttp import Connection

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
OPENING = b"3\r\n:\n\n\r\n"  # as a chunk
LAST = b"0\r\n\r\n"


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock the test moves on."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


loop_factory = Loop


def chunk(text: str) -> bytes:
    return f"{len(text):x}\r\n{text}\r\n".encode()


class Client:
    """A raw connection, which takes nothing until it is told to read."""

    def __init__(self, port: int, sock: socket.socket) -> None:
        self.port = port
        self.sock = sock
        self.received = b""

    async def send(self, request: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, request)

    async def read(self, end: bytes) -> bytes:
        """All that has come until now, which is to end in `end`; b"" is the end of the connection."""
        async with asyncio.timeout(5):
            while not end or not self.received.endswith(end):
                data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
                if not data and not end:
                    break
                assert data, self.received
                self.received += data
        return self.received

    def fin(self) -> None:
        self.sock.close()

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Server:
    """An application with one route, and what it is served by."""

    def __init__(self, broadcaster: Broadcaster, runner: web.AppRunner, stack: contextlib.ExitStack) -> None:
        self.broadcaster = broadcaster
        self.runner = runner
        self._stack = stack
        self._tasks = asyncio.all_tasks()

    async def connect(self) -> Client:
        port = self.runner.addresses[0][1]
        sock = self._stack.enter_context(socket.socket())
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return Client(port, sock)

    async def stream(self, request: bytes = GET) -> Client:
        client = await self.connect()
        await client.send(request)
        await client.read(b":\n\n\r\n" if b"1.1" in request else b":\n\n")
        return client

    async def blocked(self) -> Client:
        """A client that has read the first body and nothing more, so that a write to it waits."""
        client = await self.stream()
        number = 0
        async with asyncio.timeout(5):
            while self.broadcaster.stats()["lag"] < 3:  # it does not take the events any more
                self.broadcaster.broadcast("message", "x" * 100_000)
                number += 1
                await turns()
        assert number > 10
        return client

    async def left(self) -> None:
        """Wait until there is no client, and no task of a connection."""
        async with asyncio.timeout(5):
            while self.broadcaster.client_count or asyncio.all_tasks() != self._tasks:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(
    broadcaster: Broadcaster,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None,
    *,
    middlewares: Any = (),
    on_shutdown: Any = (),
    **options: Any,
) -> AsyncIterator[Server]:
    app = web.Application(middlewares=middlewares)
    app.on_shutdown.extend(on_shutdown)
    app.router.add_get("/", handler or broadcaster.stream)
    runner = web.AppRunner(app, **options)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    with contextlib.ExitStack() as stack:
        try:
            yield Server(broadcaster, runner, stack)
        finally:
            broadcaster.close()
            await runner.cleanup()


# ---- the response ----


async def test_the_stream_is_chunked_and_ends_cleanly() -> None:
    broadcaster = permissive()
    async with serving(broadcaster) as server:
        client = await server.stream()
        head, _, body = client.received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        headers = dict(line.split(b": ") for line in head.split(b"\r\n")[1:])
        del headers[b"Date"], headers[b"Server"]
        assert headers == {
            b"content-type": b"text/event-stream",
            b"cache-control": b"no-cache, no-transform",
            b"x-accel-buffering": b"no",
            b"Transfer-Encoding": b"chunked",
        }
        assert body == OPENING
        broadcaster.broadcast("message", "x")
        await client.read(chunk(message("x")))
        broadcaster.close()
        assert (await client.read(LAST)).endswith(chunk(message("x")) + LAST)


@pytest.mark.parametrize("header", [b"", b"Connection: keep-alive\r\n"])
async def test_over_http_1_0_the_body_is_raw_and_the_connection_is_its_end(header: bytes) -> None:
    broadcaster = permissive()
    async with serving(broadcaster) as server:
        client = await server.stream(b"GET / HTTP/1.0\r\n" + header + b"\r\n")
        broadcaster.broadcast("message", "x")
        broadcaster.close()
        head, _, body = (await client.read(b"")).partition(b"\r\n\r\n")
        assert body == (":\n\n" + message("x")).encode()
        assert b"keep-alive" not in head


async def test_head_gets_the_headers_and_an_end_and_is_no_client() -> None:
    broadcaster = permissive()
    async with serving(broadcaster) as server:
        client = await server.connect()
        await client.send(GET.replace(b"GET", b"HEAD") + GET)
        await client.read(OPENING)
        head, body = client.received.split(b"\r\n\r\n", 1)
        assert b"content-type: text/event-stream" in head
        assert body.startswith(b"HTTP/1.1 200 OK\r\n")  # of the GET
        assert broadcaster.stats()["total"] == 1


async def test_bad_initial_events_raise_in_the_handler() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        with pytest.raises(ValueError, match="must not contain"):
            await broadcaster.stream(request, [("a\n", "1")])
        return await broadcaster.stream(request, [("a", "1")])

    broadcaster = permissive()
    async with serving(broadcaster, handler) as server:
        client = await server.connect()
        await client.send(GET)
        await client.read(chunk(message("1", "a")))


async def test_what_middleware_sets_is_sent() -> None:
    @web.middleware
    async def middleware(request: web.Request, handler: Any) -> web.StreamResponse:
        response = await handler(request)
        response.headers["X-One"] = "1"
        response.set_cookie("a", "b")
        return response

    async with serving(permissive(), middlewares=[middleware]) as server:
        client = await server.stream()
        assert b"\r\nX-One: 1\r\n" in client.received
        assert b"\r\nSet-Cookie: a=b; Path=/\r\n" in client.received


# ---- the client leaves ----


@pytest.mark.parametrize("handler_cancellation", [False, True])
@pytest.mark.parametrize("leave", [Client.fin, Client.half_close, Client.reset])
async def test_a_client_that_leaves_is_no_client_any_more(
    leave: Callable[[Client], None], handler_cancellation: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(permissive(), handler_cancellation=handler_cancellation) as server:
        leave(await server.stream())
        await server.left()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.parametrize("leave", [Client.fin, Client.reset])
async def test_a_client_that_leaves_while_a_write_to_it_waits(
    leave: Callable[[Client], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        kept.append(await broadcaster.stream(request))  # so that nothing is left to the collector
        return kept[0]

    caplog.set_level(logging.INFO, "aiohttp.access")
    broadcaster = permissive(0)
    kept: list[web.StreamResponse] = []
    async with serving(broadcaster, handler) as server:
        leave(await server.blocked())
        await server.left()
    assert len(caplog.records) == 1


async def test_a_client_that_leaves_before_there_is_an_answer() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        asked.set_result(None)
        await gone.wait()
        return await broadcaster.stream(request)

    asked = asyncio.get_running_loop().create_future()
    gone = asyncio.Event()
    broadcaster = permissive()
    async with serving(broadcaster, handler) as server:
        client = await server.connect()
        await client.send(GET)
        await asked
        client.reset()
        await turns(8)
        gone.set()
        await server.left()
        assert broadcaster.stats()["total"] == 0


async def test_a_connection_that_is_lost_after_the_stream_has_ended() -> None:
    """With TLS the transport may have chosen whom to tell before there was an end."""

    class Transport(asyncio.Transport):
        protocol = asyncio.Protocol()

        def get_protocol(self) -> asyncio.BaseProtocol:
            return self.protocol

        def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
            self.protocol = protocol

    transport = Transport()
    connection = Connection(transport, None)
    assert transport.protocol is connection
    connection.leave()
    assert transport.protocol is Transport.protocol
    connection.connection_lost(None)
    await asyncio.sleep(0)  # it is not cancelled


async def test_a_request_that_is_pipelined_is_answered_after_the_stream() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport.get_protocol() is request.protocol  # nothing of the stream before is left
        return await broadcaster.stream(request)

    broadcaster = permissive()
    async with serving(broadcaster, handler) as server:
        client = await server.stream(GET)
        await client.send(GET)
        broadcaster.broadcast("message", "x")
        await client.read(chunk(message("x")))
        broadcaster.close()
        received = await client.read(OPENING + LAST)
        assert received.count(b"HTTP/1.1 200 OK") == 2
        assert received.count(LAST) == 2
        client.fin()
        await server.left()


# ---- a client that has stopped reading ----


async def test_who_stops_reading_is_dropped_in_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fastware_sse")
    told = []
    async with serving(permissive(0, on_disconnect=lambda client: told.append(client.reason))) as server:
        client = await server.blocked()
        loop = asyncio.get_running_loop()
        loop.skipped += 29  # type: ignore[attr-defined]
        await turns(8)
        assert server.broadcaster.client_count == 1
        loop.skipped += 2  # type: ignore[attr-defined]
        await server.left()
        assert [record.getMessage() for record in caplog.records] == ["dropped an SSE client that has stopped reading"]
        assert server.broadcaster.stats()["stuck"] == 1 and told == ["send_timeout"]
        assert not (await client.read(b"")).endswith(LAST)  # what was under way, and the connection is closed


async def test_who_reads_again_gets_it_all() -> None:
    broadcaster = permissive(0)
    async with serving(broadcaster) as server:
        client = await server.blocked()
        broadcaster.broadcast("message", "last")
        await client.read(message("last").encode() + b"\r\n")
        assert client.received.count(b"event: ") == broadcaster.stats()["events"]


async def test_the_end_of_a_stream_waits_for_no_reader(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        request.transport.set_write_buffer_limits(10_000_000)  # as long as this is so no write waits
        transports.append(request.transport)
        return await broadcaster.stream(request)

    caplog.set_level(logging.INFO, "aiohttp.access")
    broadcaster = permissive(0)
    transports: list[asyncio.Transport] = []
    async with serving(broadcaster, handler) as server:
        client = await server.stream()
        while not transports[0].get_write_buffer_size():
            broadcaster.broadcast("message", "x" * 10_000)
            await turns()
        transports[0].set_write_buffer_limits(1)
        broadcaster.close()
        await turns(8)
        assert not caplog.records
        asyncio.get_running_loop().skipped += 2  # type: ignore[attr-defined]
        await turns(8)
        assert len(caplog.records) == 1
        client.reset()
        await server.left()


# ---- the end of the server ----


async def test_on_shutdown_may_end_the_streams() -> None:
    async def end_streams(app: web.Application) -> None:
        broadcaster.close()

    broadcaster = permissive()
    async with serving(broadcaster, on_shutdown=[end_streams]) as server:
        client = await server.stream()
        async with asyncio.timeout(5):  # it would wait for a minute
            await server.runner.cleanup()
        assert (await client.read(b"")).endswith(OPENING + LAST)


async def test_without_it_a_stream_is_cut_when_the_time_is_up() -> None:
    broadcaster = permissive()
    async with serving(broadcaster, shutdown_timeout=0.05) as server:
        client = await server.stream()
        await server.runner.cleanup()
        assert (await client.read(b"")).endswith(OPENING)
        assert broadcaster.client_count == 0
