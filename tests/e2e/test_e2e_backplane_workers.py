"""The example of several workers, on servers that start them: an event reaches the clients of all."""

import asyncio
from pathlib import Path

import pytest
from client import connect
from engines import redis_server
from servers import Kind, granian, running, uvicorn

pytestmark = pytest.mark.e2e

CLIENTS = 24  # so that every worker has some
EVENTS = 200


@pytest.mark.parametrize(
    "kind", [granian("asyncio", "--workers", "4"), uvicorn("uvloop", "httptools", "--workers", "4")], ids=str
)
async def test_an_event_reaches_the_clients_of_all_workers(kind: Kind, tmp_path: Path) -> None:
    with redis_server(tmp_path) as engine:
        async with running(kind, "workers_app", REDIS_URL=engine.url) as server:
            streams = [await server.stream() for _ in range(CLIENTS)]
            for stream in streams:
                await stream.until(lambda stream=stream: b"id: " in stream.body)
            for number in range(EVENTS):  # each on a connection of its own, which a worker of the kernel's choice takes
                connection = await connect(server.port)
                await (await connection.send("POST", "/send", number).head()).end()
                connection.close()
            async with asyncio.timeout(20):
                for stream in streams:
                    await stream.until(lambda stream=stream: len(stream.data) == EVENTS)
            assert sorted(map(int, streams[0].data)) == list(range(EVENTS))
            assert all(stream.events == streams[0].events for stream in streams)
            assert len({event.last_event_id for event in streams[0].events}) == EVENTS
            assert "each worker has clients and events of its own" not in server.log
            server.interrupt()
            assert await server.exit_code() == 0
            server.assert_no_complaint()
