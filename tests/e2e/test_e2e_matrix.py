"""Every server, event loop and HTTP version: the same promises, beside each other.

Half of the clients are of the ASGI responder, half of a route of fastware's; they share one Broadcaster. What a server
does not allow stands in the cell, and docs/servers.md tells users.
"""

import asyncio
import json
import re
from typing import NamedTuple

import pytest
from client import Connection, ProtocolError, Response, Wire, all_got, connect, connect_without_reading, raw_answer
from h2client import Http2Connection
from servers import (
    DAPHNE,
    GRANIAN,
    GRANIAN_UVLOOP,
    HYPERCORN,
    HYPERCORN_W0,
    STOP,
    STOP_IDLE,
    UVICORN,
    UVICORN_HTTPTOOLS,
    UVICORN_UVLOOP,
    UVICORN_UVLOOP_H11,
    Kind,
    Server,
    running,
)

pytestmark = pytest.mark.e2e

APP = "asgi_knobs"
TARGETS = ("/", "/route")
STREAMS_OF_A_CONNECTION = 10  # over HTTP/2


class Cell(NamedTuple):
    kind: Kind
    wire: type[Wire] = Connection

    def __str__(self) -> str:
        return f"{self.kind}-{'h1' if self.wire is Connection else 'h2c'}"

    async def open(self, server: Server, number: int) -> list[Response]:
        """So many clients more, of both targets in turn. Daphne shows them no head before there is an event."""
        shared = STREAMS_OF_A_CONNECTION if self.wire is Http2Connection else 1
        connections = [await connect(server.port, self.wire) for _ in range(-(-number // shared))]
        before = (await server.request("GET", "/status"))["clients"]
        streams = [connections[index // shared].send("GET", TARGETS[index % 2]) for index in range(number)]
        await server.has_clients(before + number)
        return streams

    @property
    def back_pressure(self) -> bool:
        return self.kind is not DAPHNE and self != (HYPERCORN, Http2Connection)


SERVERS = [
    *(GRANIAN, GRANIAN_UVLOOP, UVICORN, UVICORN_HTTPTOOLS, UVICORN_UVLOOP_H11, UVICORN_UVLOOP),
    *(HYPERCORN, HYPERCORN_W0, DAPHNE),
]
HTTP1 = [Cell(kind) for kind in SERVERS]
HTTP2 = [Cell(kind, Http2Connection) for kind in (GRANIAN, GRANIAN_UVLOOP, HYPERCORN)]

each_cell = pytest.mark.parametrize("cell", HTTP1 + HTTP2, ids=str)


@each_cell
async def test_fifty_clients_get_every_event_in_order(cell: Cell) -> None:
    texts = [f"event {number}" for number in range(500)]
    async with running(cell.kind, APP) as server:
        streams = await cell.open(server, 50)
        flow = (await connect(server.port)).send("POST", "/burst", {"texts": texts, "pause": 1 / 250})
        await all_got(streams, texts)
        await flow.end()
        assert {stream.body for stream in streams[::2]} == {b":\n\n" + streams[1].body}
        assert {stream.body for stream in streams[1::2]} == {streams[1].body}
        assert {stream.status for stream in streams} == {200}
        assert {stream.headers["content-type"] for stream in streams} == {"text/event-stream"}
        server.assert_no_complaint()


@each_cell
async def test_head_gets_the_headers_and_an_end_and_is_never_a_client(cell: Cell) -> None:
    own = {"date", "transfer-encoding", "x-request-id"}  # need not be equal in the two answers
    async with running(cell.kind, APP) as server:
        before = await server.request("GET", "/status")
        streams = await cell.open(server, 10)
        await server.burst("now there is a head")
        connection = await connect(server.port, cell.wire)
        for target, stream in zip(TARGETS, streams, strict=False):
            head = await connection.send("HEAD", target).end()
            assert head.status == 200 and head.body == b""
            expected = {name: value for name, value in (await stream.head()).headers.items() if name not in own}
            assert {name: value for name, value in head.headers.items() if name not in own} == expected
            assert (await connection.request("GET", "/status"))["clients"] == 10
        post = await connection.send("POST", "/").end()
        assert (post.status, post.headers["allow"]) == (405, "GET, HEAD")
        for each in (connection, *(stream.connection for stream in streams)):
            each.close()
        await server.nothing_is_left(before)
        server.assert_no_complaint()


@each_cell
async def test_a_client_that_leaves_is_not_counted_any_more(cell: Cell) -> None:
    async with running(cell.kind, APP) as server:
        before = await server.request("GET", "/status")
        staying = await cell.open(server, 10)
        for leave in (Wire.close, Wire.reset, Wire.half_close):
            leaving = await cell.open(server, 10)
            for connection in {stream.connection for stream in leaving}:
                leave(connection)
            await server.has_clients(10)
        for connection in {stream.connection for stream in leaving}:  # half closed: the server closes its half
            await connection.closed()
            connection.close()
        await server.burst("still here")
        await all_got(staying, ["still here"])
        for connection in {stream.connection for stream in staying}:
            connection.close()
        await server.nothing_is_left(before)
        server.assert_no_complaint()


@pytest.mark.parametrize("cell", HTTP2, ids=str)
async def test_a_stream_that_is_reset_leaves_and_its_connection_stays(cell: Cell) -> None:
    async with running(cell.kind, APP) as server:
        staying, *leaving = await cell.open(server, 10)
        for stream in leaving:
            stream.connection.reset_stream(stream)
        await server.has_clients(1)
        await server.burst("still here")
        await all_got([staying], ["still here"])
        server.assert_no_complaint()


@pytest.mark.parametrize("cell", HTTP1, ids=str)
async def test_http_1_0(cell: Cell) -> None:
    async with running(cell.kind, APP) as server:
        answers = [
            asyncio.create_task(raw_answer(server.port, f"GET {target} HTTP/1.0\r\n\r\n".encode()))
            for target in TARGETS
        ]
        await server.has_clients(2)
        await server.burst("a", "b")
        server.interrupt()
        for answer, first in zip(answers, (b":\n\n", b""), strict=True):
            head, _, body = (await answer).partition(b"\r\n\r\n")
            assert head.startswith((b"HTTP/1.0 200 ", b"HTTP/1.1 200 "))
            if b"transfer-encoding: chunked" in head.lower():
                # With httptools uvicorn frames the body, whatever the version of the request.
                assert cell.kind in (UVICORN_HTTPTOOLS, UVICORN_UVLOOP)
            else:
                assert body == first + b"event: message\ndata: a\n\nevent: message\ndata: b\n\n"
        assert await server.exit_code() in (0, -2, 130)
        server.assert_no_complaint()


@each_cell
async def test_readers_that_are_stuck_are_pruned_and_the_others_lose_nothing(cell: Cell) -> None:
    """10 MB: more than a kernel and a server take for one of them, unless that server takes all."""
    size, number, at_once = 16_384, 640, 16
    options = {"BROADCASTER": json.dumps({"buffer_size": 32}), "EVENT_STREAM": json.dumps({"send_timeout": None})}
    async with running(cell.kind, APP, **options) as server:
        before = await server.request("GET", "/status")
        reading = await cell.open(server, 48)
        stuck = [await connect_without_reading(server.port, cell.wire) for _ in TARGETS]
        for connection, target in zip(stuck, TARGETS, strict=True):
            connection.send("GET", target)
        await server.has_clients(50)
        opening = b":\n\n"  # of the responder
        for start in range(0, number, at_once):
            texts = [f"{index} ".ljust(size, "x") for index in range(start, start + at_once)]
            await server.burst(*texts)
            expected = b"".join(b"event: message\ndata: %b\n\n" % text.encode() for text in texts)
            for index, stream in enumerate(reading):  # keep in step with those who read, or they would overflow too
                wanted = expected if index % 2 else opening + expected
                await stream.until(lambda stream=stream, wanted=wanted: stream.size >= len(wanted))
                assert stream.body == wanted
                stream.clear()
            opening = b""
        await server.has_clients(48 if cell.back_pressure else 50)
        for connection in {*stuck, *(stream.connection for stream in reading)}:
            connection.reset()
        await server.nothing_is_left(before)
        server.assert_no_complaint()


@pytest.mark.parametrize("how", STOP)
@pytest.mark.parametrize("kind", SERVERS, ids=str)
async def test_stops_as_if_no_stream_were_open(kind: Kind, how: str) -> None:
    texts = [f"event {number}" for number in range(20)]
    cells = [cell for cell in HTTP1 + HTTP2 if cell.kind is kind]
    async with running(kind, APP) as idle, running(kind, APP) as server:
        await idle.has_clients(0)
        STOP_IDLE[how](idle)
        streams = [stream for cell in cells for stream in await cell.open(server, 100 // len(cells))]
        await server.burst(*texts)
        STOP[how](server)  # some have not been sent yet, and are owed
        cancelled = (kind, how) == (HYPERCORN, "sigterm")  # its worker never hears the signal
        for stream in streams:
            if cancelled and isinstance(stream.connection, Http2Connection):  # what sends there was cancelled first
                with pytest.raises(ProtocolError, match="closed too early"):
                    await stream.end()
            else:
                await stream.end()
            assert stream.data == texts
        for stream in streams:
            await stream.connection.closed()
        assert await server.exit_code() == await idle.exit_code()
        if not cancelled:  # it logs each of them, whatever the application does
            server.assert_no_complaint()
        assert not re.search('File ".*/fastware_sse/', server.log)
