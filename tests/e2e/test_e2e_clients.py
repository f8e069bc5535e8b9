"""Clients that come and go, that only ask for the head, that do not read, and that have nothing to read."""

import asyncio
import json
from typing import Any

import pytest
from client import Connection, connect, connect_without_reading
from decoder import Event
from servers import KINDS, SERVE, UVICORN_UVLOOP, Kind, running

pytestmark = pytest.mark.e2e


def options(**keywords: Any) -> dict[str, str]:
    """For apps/knobs.py: the arguments of its Broadcaster."""
    return {"BROADCASTER": json.dumps(keywords)}


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_a_client_that_leaves_is_not_counted_any_more(kind: Kind) -> None:
    # Not the example: its /status broadcasts, so that asking often enough would prune a client that was forgotten.
    async with running(kind, "knobs", **options()) as server:
        for leave in (Connection.close, Connection.reset, Connection.half_close):
            leaving = await server.streams(3)
            for stream in leaving:
                leave(stream.connection)
            await server.has_clients(0)
        for stream in leaving:  # half closed: the server has given up on them, so it closes its half
            await stream.connection.closed()
            stream.connection.close()
        assert not server.exited
        server.assert_no_complaint()


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_a_client_that_leaves_while_others_read_costs_them_nothing(kind: Kind) -> None:
    async with running(kind, "knobs", **options()) as server:
        staying, *leaving = await server.streams(4)
        for number, leave in enumerate((Connection.close, Connection.reset, Connection.half_close)):
            leave(leaving[number].connection)
            await server.request("POST", "/burst", {"texts": [f"{number}"]})
            await server.has_clients(3 - number)
        await server.request("POST", "/burst", {"texts": ["last"]})
        await staying.until(lambda: len(staying.events) == 4)
        assert [event.data for event in staying.events] == ["0", "1", "2", "last"]
        server.assert_no_complaint()


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_head_gets_the_headers_and_an_end_and_is_never_a_client(kind: Kind) -> None:
    async with running(kind, "knobs", **options()) as server:
        for target in ("/events", "/stream"):
            get = await server.stream(target)
            await server.has_clients(1)
            connection = await connect(server.port)
            head = await connection.send("HEAD", target).end()
            assert head.status == 200
            own = {"date", "x-request-id", "transfer-encoding"}  # need not be equal in the two answers
            expected = {name: value for name, value in get.headers.items() if name not in own}
            assert {name: value for name, value in head.headers.items() if name not in own} == expected
            # An answer to HEAD ends with its head, so if anything came after it, the client would find it here.
            assert (await connection.request("GET", "/status"))["clients"] == 1
            get.connection.close()
            await server.has_clients(0)
            connection.close()
        server.assert_no_complaint()


@pytest.mark.parametrize("kind", [SERVE, UVICORN_UVLOOP], ids=str)
async def test_a_burst_is_one_chunk_through_sse_route_and_one_an_event_through_stream(kind: Kind) -> None:
    texts = [f"event {index}" for index in range(200)]
    async with running(kind, "knobs", **options()) as server:
        routed, streamed = await server.stream("/events"), await server.stream("/stream")
        await server.has_clients(2)
        await server.request("POST", "/burst", {"texts": texts})
        size = sum(len(f"event: message\ndata: {text}\n\n") for text in texts)
        for stream in (routed, streamed):
            await stream.until(lambda stream=stream: stream.size >= size)
            assert stream.events == [Event("message", text, "") for text in texts]
        assert len(routed.chunks) <= 3
        assert len(streamed.chunks) == 200
        server.assert_no_complaint()


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_a_client_that_does_not_read_is_pruned_and_can_still_read_what_it_is_owed(kind: Kind) -> None:
    """A kernel takes some megabytes for a socket that nobody reads, so it takes more than these."""
    size, least, most = 64_000, 5_000_000, 20_000_000
    async with running(kind, "knobs", **options(buffer_size=8)) as server:
        reading = await server.streams(3)
        slow = (await connect_without_reading(server.port)).send("GET", "/events")
        await server.has_clients(4)
        sent: list[str] = []
        clients = 4
        while clients == 4 or len(sent) * size < least:
            assert len(sent) * size < most
            text = f"{len(sent)} ".ljust(size, "x")
            sent.append(text)
            await server.request("POST", "/burst", {"texts": [text]})
            for stream in reading:  # keep in step with those who read, or they would overflow too
                await stream.until(lambda stream=stream: stream.size >= len(sent) * size)
            clients = (await server.request("GET", "/status"))["clients"]
        assert clients == 3

        slow.connection.read_on()
        await slow.end()
        received = [event.data for event in slow.events]
        assert received == sent[: len(received)]
        assert 8 <= len(received) < len(sent)

        # Nobody else has noticed.
        await server.request("POST", "/burst", {"texts": ["last"]})
        for stream in reading:
            await stream.until(lambda stream=stream: stream.chunks[-1].endswith(b"data: last\n\n"))
            assert [event.data for event in stream.events] == [*sent, "last"]
        await server.has_clients(3)
        server.assert_no_complaint()


@pytest.mark.parametrize("kind", [SERVE, UVICORN_UVLOOP], ids=str)
async def test_heartbeats_on_an_idle_connection(kind: Kind) -> None:
    interval = 0.1
    async with running(kind, "knobs", **options(heartbeat_interval=interval)) as server:
        start = asyncio.get_running_loop().time()
        routed, streamed = await server.stream("/events"), await server.stream("/stream")
        for stream in (routed, streamed):
            await stream.until(lambda stream=stream: len(stream.chunks) >= 4)
            elapsed = asyncio.get_running_loop().time() - start
            assert set(stream.chunks) == {b": heartbeat\n\n"}
            assert len(stream.chunks) * interval < elapsed + 0.05
        server.assert_no_complaint()
