"""What clients, apps and settings may do while C writes a stream's bytes: every event loop with every HTTP parser.

In the test's own process, so that these run on every Python, and under AddressSanitizer too.
"""

import asyncio
import concurrent.futures
import contextlib
import copy
import logging
import re
import resource
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from client import Connection, ProtocolError, Response, Wire, connect, connect_without_reading, raw_answer
from hub import OPENING, found, frame, numbers, saw
from in_process import PAIRS, Site, pong, protocol, serving, until
from test_paging import id_of, paged, position

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream
from fastware_sse.backplane import Entry

PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
GET = PING.replace(b"/ping", b"/")
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
LARGE = "." * 5000

each_pair = pytest.mark.parametrize(("loop", "http"), PAIRS)


async def leave(*streams: Response) -> None:
    for stream in streams:
        stream.connection.close()


# Requests.


@each_pair
async def test_a_request_of_http_1_0(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        answer = asyncio.create_task(raw_answer(site.port, b"GET / HTTP/1.0\r\n\r\n"))
        await site.until(connected=1)
        site.broadcast(0, 1, 2)
        site.broadcaster.close()
        received = await answer
        if http == "httptools":  # uvicorn frames the body, whatever the version of the request
            connection = Connection()
            response = connection.expect("GET")
            connection.take(received)
            assert response.complete
            body = response.body
        else:
            head, _, body = received.partition(b"\r\n\r\n")
            assert b"transfer-encoding" not in head.lower()
        assert body == OPENING + frame("0") + frame("1") + frame("2")
        await site.nothing_is_left()


@each_pair
async def test_head_is_answered_without_a_byte_more(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        connection = await site.connect()
        for _ in range(2):
            head = await connection.send("HEAD", "/").end()
            assert (head.status, head.body) == (200, b"")
            site.broadcast("to nobody")
        await pong(connection)
        assert site.broadcaster.stats()["total"] == 0
        connection.close()
        await site.nothing_is_left()


@each_pair
async def test_a_client_that_wants_no_other_request(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        [stream] = await site.open(headers="Connection: close\r\n")
        await site.until(direct=1)
        site.broadcast(0)
        site.broadcaster.close()
        await stream.end()
        assert numbers(stream.body) == range(1)
        assert stream.headers["connection"] == "close"
        await stream.connection.closed()
        await leave(stream)
        await site.nothing_is_left()


@each_pair
async def test_a_request_whose_body_comes_later(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        connection = await site.connect()
        connection.write(GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 4\r\n\r\n"))
        stream = connection.expect("GET")
        await stream.until(lambda: stream.size > 0)
        site.broadcast(0)
        await saw([stream], "0")
        connection.write(b"body")
        site.broadcast(1)
        await saw([stream], "1")
        site.broadcaster.close()
        await stream.end()
        assert numbers(stream.body) == range(2)
        await pong(connection)
        connection.close()
        await site.nothing_is_left()


@each_pair
async def test_a_request_that_came_through_a_proxy(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        [stream] = await site.open(headers="X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.1\r\n")
        await site.until(direct=1)
        site.broadcast(0)
        await saw([stream], "0")
        await leave(stream)
        await site.nothing_is_left()


# What a client sends while it listens.


@each_pair
async def test_a_request_that_is_pipelined_is_answered_after_the_stream(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        [stream] = await site.open()
        await site.until(direct=1)
        answers = [stream.connection.send("GET", "/ping") for _ in range(3)]
        await site.ping()  # by then it has seen them
        site.broadcast(0)
        await saw([stream], "0")
        assert answers[0].status is None
        site.broadcaster.close()
        await stream.end()
        assert numbers(stream.body) == range(1)
        for answer in answers:
            assert (await answer.end()).body == b"pong"
        await leave(stream)
        await site.nothing_is_left()


@each_pair
async def test_requests_keep_their_order_at_the_end_of_a_stream(loop: str, http: str) -> None:
    """One has come before it, and one comes in the turn of the event loop in which it ends."""
    ends, goes_on = threading.Event(), threading.Event()
    paths: list[str] = []
    with serving(loop, http) as site:

        async def app(scope: Any, receive: Any, send: Any) -> None:
            paths.append(scope["path"])
            if scope["path"] == "/":
                await site.stream(scope, receive, send)
            else:
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
                await send({"type": "http.response.body"})

        site.app = app
        site.broadcaster = Broadcaster(strict=False, on_disconnect=lambda client: ends.set() or goes_on.wait(10))
        [stream] = await site.open()
        await site.until(direct=1)
        answers = [stream.connection.send("GET", "/first")]
        await site.ping()  # by then it has seen it
        site.broadcaster.close()
        await asyncio.to_thread(ends.wait, 10)
        answers.append(stream.connection.send("GET", "/second"))
        goes_on.set()
        for answer in answers:
            await answer.end()
        assert paths == ["/", "/first", "/second"]
        await leave(stream)
        await site.nothing_is_left()


@each_pair
async def test_a_request_that_came_in_the_same_packet(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        connection = await site.connect()
        connection.write(GET + PING + GET)
        stream, answer, second = (connection.expect("GET") for _ in range(3))
        await stream.until(lambda: stream.size > 0)
        site.broadcast(0)
        await saw([stream], "0")
        assert answer.status is None
        old, site.broadcaster = site.broadcaster, Broadcaster(strict=False)
        old.close()
        await stream.end()
        assert numbers(stream.body) == range(1)
        assert (await answer.end()).body == b"pong"
        await site.until(connected=1)
        site.broadcast(0)
        await saw([second], "0")
        connection.close()
        await site.nothing_is_left()


@each_pair
@pytest.mark.parametrize("when", ["at_once", "same_packet", "later"])
async def test_a_client_that_pipelines_and_leaves_is_missed_at_once(loop: str, http: str, when: str) -> None:
    with serving(loop, http) as site:
        for go in (Wire.close, Wire.half_close, Wire.reset):
            connection = await site.connect()
            stream = connection.expect("GET")
            connection.expect("GET")
            connection.write(GET if when == "later" else GET + PING)
            if when != "at_once":
                await stream.until(lambda stream=stream: stream.size > 0)
            if when == "later":
                await site.until(direct=1)
                connection.write(PING)
            go(connection)
            await site.ping()
            await site.until(connected=0)  # though nothing is broadcast
        connection.close()
        await site.nothing_is_left()


@each_pair
@pytest.mark.parametrize("when", ["same_packet", "before_the_offer", "later"])
async def test_an_upgrade_does_not_take_the_connection_from_under_a_stream(loop: str, http: str, when: str) -> None:
    """C would go on to write to a descriptor that is somebody else's by then."""
    with serving(loop, http) as site:
        opened: concurrent.futures.Future[None] = concurrent.futures.Future()

        async def late(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and when == "before_the_offer":
                await asyncio.wait_for(asyncio.to_thread(opened.result, 5), 5)
            if scope["type"] == "http":
                await site.stream(scope, receive, send)

        site.app = late
        connection = await site.connect()
        connection.expect("GET")
        connection.write(GET + UPGRADE if when == "same_packet" else GET)
        if when == "later":
            await site.until(direct=1)
        if when != "same_packet":
            connection.write(UPGRADE)
        await site.ping()
        opened.set_result(None)
        connection.close()
        await site.until(connected=0, direct=0)
        await site.nothing_is_left()


@each_pair
async def test_garbage_is_answered_after_the_stream_and_not_in_it(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        [stream, other] = await site.open(2)
        await site.until(direct=2)
        stream.connection.write(b"\0\1\2 garbage\r\n\r\n")
        refused = stream.connection.expect("GET")
        await site.ping()
        site.broadcast(*range(10))
        await saw([stream, other], "9")
        assert refused.status is None
        site.broadcaster.close()
        for each in (stream, other):
            await each.end()
            assert numbers(each.body) == range(10)
        assert (await refused.end()).status == 400
        await stream.connection.closed()
        await leave(stream, other)
        await site.nothing_is_left()


@each_pair
async def test_a_client_that_floods_is_cut_and_the_others_are_not(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        [stream, other] = await site.open(2)
        await site.until(direct=2)
        stream.connection.write(PING * (3_000_000 // len(PING)))
        site.broadcast(*range(10))
        await site.until(connected=1, direct=1)
        with pytest.raises((ProtocolError, ConnectionError)):
            await stream.end()
        assert set(numbers(stream.body)) <= set(range(10))
        await saw([other], "9")
        assert numbers(other.body) == range(10)
        await leave(other)
        await site.nothing_is_left()


@each_pair
async def test_a_client_that_leaves_is_missed_at_once(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        [staying] = await site.open()
        for go in (Wire.close, Wire.reset, Wire.half_close):
            leaving = await site.open(5)
            await site.until(direct=6)
            for stream in leaving:
                go(stream.connection)
            await site.until(connected=1, direct=1)
        for stream in leaving:  # half closed: the server closes its half
            await stream.connection.closed()
        site.broadcast(0)
        await saw([staying], "0")
        await leave(staying, *leaving)
        await site.nothing_is_left()


# Clients that read slowly.


@each_pair
async def test_a_slow_reader_gets_all_of_it_and_joins_the_others_again(loop: str, http: str) -> None:
    with serving(loop, http, send_buffer=8192) as site:
        slow = await site.open_stuck()
        [fast] = await site.open()
        await site.until(direct=2)
        for start in range(0, 200, 50):
            site.broadcast(*(f"{number}{LARGE}" for number in range(start, start + 50)))
            await saw([fast], f"{start + 49}{LARGE}")
        assert site.broadcaster.stats()["lag"] > 0
        slow.connection.read_on()
        await saw([slow], f"199{LARGE}")
        await site.until(connected=2, direct=2, lag=0, log_events=0)
        site.broadcast(f"200{LARGE}")
        await saw([slow, fast], f"200{LARGE}")
        for stream in (slow, fast):
            assert numbers(stream.body, LARGE) == range(201)
        await leave(slow, fast)
        await site.nothing_is_left()


@each_pair
async def test_a_reader_too_slow_gets_what_was_kept_and_one_end(loop: str, http: str) -> None:
    with serving(loop, http, send_buffer=8192) as site:
        site.broadcaster = Broadcaster(20, strict=False)
        slow = await site.open_stuck()
        [fast] = await site.open()
        await site.until(direct=2)
        for start in range(0, 200, 10):
            site.broadcast(*(f"{number}{LARGE}" for number in range(start, start + 10)))
            await saw([fast], f"{start + 9}{LARGE}")
        await site.until(connected=1, pruned=1)
        slow.connection.read_on()
        await slow.end()
        got = numbers(slow.body, LARGE)
        assert got.start == 0 and 20 <= got.stop < 200
        await pong(slow.connection)  # nothing came behind the end
        await site.until(connected=1, direct=1, log_events=0)
        site.broadcast(f"200{LARGE}")
        await saw([fast], f"200{LARGE}")
        assert numbers(fast.body, LARGE) == range(201)
        await leave(slow, fast)
        await site.nothing_is_left()


@each_pair
async def test_a_burst_beyond_buffer_size_prunes_nobody_who_reads(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        streams = await site.open(10)
        await site.until(direct=10)

        def burst() -> None:  # in one turn of the server's loop
            site.broadcast(*range(5000))

        [server_loop] = {task.get_loop() for task in site.server.server_state.tasks}
        server_loop.call_soon_threadsafe(burst)
        await saw(streams, "4999")
        for stream in streams:
            assert numbers(stream.body) == range(5000)
        await site.until(connected=10, direct=10, pruned=0, log_events=0)
        await leave(*streams)
        await site.nothing_is_left()


@each_pair
@pytest.mark.parametrize(("count", "size", "send_buffer"), [(80, 100_000, 0), (3, 20_000, 8192)])
async def test_a_beginning_larger_than_the_socket_takes(
    loop: str, http: str, count: int, size: int, send_buffer: int
) -> None:
    """8 MB, with which the server lets the stream wait, and less. What is broadcast comes behind what is buffered."""
    with serving(loop, http, send_buffer=send_buffer) as site:
        initial = [("message", f"{number}".ljust(size, "x")) for number in range(count)]
        site.options = {"initial": initial}
        stalled = await site.open_stuck()
        site.broadcast(*range(100))
        for _ in range(10):
            await site.ping()
        assert site.broadcaster.stats()["direct"] == 0
        stalled.connection.read_on()
        await saw([stalled], "99")
        await site.until(direct=1)
        site.broadcast(100)
        await saw([stalled], "100")
        opening = b"".join(frame(text) for _, text in initial)
        assert stalled.body == opening + b"".join(frame(str(number)) for number in range(101))
        await leave(stalled)
        await site.nothing_is_left()


# Settings of uvicorn's.


@each_pair
async def test_a_stream_outlives_the_timeout_of_idle_connections(loop: str, http: str) -> None:
    with serving(loop, http, timeout_keep_alive=1) as site:
        [stream] = await site.open()
        for _ in range(2):
            idle = await site.connect()
            await pong(idle)
            await idle.closed()
        await site.until(connected=1, direct=1)
        site.broadcast(0)
        site.broadcaster.close()
        await stream.end()
        assert numbers(stream.body) == range(1)
        await stream.connection.closed()  # idle from now on
        await site.nothing_is_left()


@each_pair
async def test_a_context_of_its_own_for_each_request(loop: str, http: str) -> None:
    with serving(loop, http, reset_contextvars=True) as site:
        [stream] = await site.open()
        await site.until(direct=1)
        site.broadcast(0)
        await saw([stream], "0")
        await leave(stream)
        await site.nothing_is_left()


@pytest.fixture
def levels() -> Iterator[None]:
    """uvicorn sets those of its loggers for the whole process."""
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@each_pair
async def test_a_log_of_every_message(loop: str, http: str, levels: None) -> None:
    with serving(loop, http, log_level="trace") as site:
        [stream] = await site.open()
        await site.until(direct=1)
        site.broadcast(0)
        site.broadcaster.close()
        await stream.end()
        assert numbers(stream.body) == range(1)
        await leave(stream)
        await site.nothing_is_left()


@each_pair
async def test_a_limit_of_connections_counts_streams(loop: str, http: str) -> None:
    with serving(loop, http, limit_concurrency=5) as site:
        streams = await site.open(4)
        await site.until(direct=4)
        refused = await (await site.connect()).send("GET", "/").end()
        assert refused.status == 503
        refused.connection.close()
        await leave(*streams[:2])
        await site.until(direct=2)
        streams = streams[2:] + await site.open()
        await site.until(direct=3)
        site.broadcast(0)
        await saw(streams, "0")
        await leave(*streams)
        await site.nothing_is_left()


@each_pair
async def test_a_unix_socket(loop: str, http: str, tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    with serving(loop, http, unix=path) as site:
        [stream] = await site.open()
        await site.until(direct=1)
        site.broadcast(0)
        await saw([stream], "0")
        site.broadcaster.close()
        await stream.end()
        await pong(stream.connection)
        await leave(stream)
        await site.nothing_is_left()


@each_pair
async def test_a_broadcaster_may_opt_out(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        site.broadcaster = Broadcaster(strict=False, direct=False)
        streams = await site.open(3)
        await site.until(connected=3)
        site.broadcast(0)
        await saw(streams, "0")
        assert site.broadcaster.stats()["direct"] == 0
        await leave(*streams)
        await site.nothing_is_left()


# Apps and processes that fail, or do what nobody else does.


@each_pair
@pytest.mark.parametrize(
    ("status", "header"),
    [
        (203, (b"x-any", b"thing")),
        (200, (b"content-type", b"text/plain")),
        (200, (b"content-encoding", b"br")),
        (200, (b"content-length", b"%d" % len(OPENING + frame("0") + frame("1")))),
    ],
)
async def test_an_app_that_changes_the_head_alone(loop: str, http: str, status: int, header: Any) -> None:
    """It may mean something else by the bytes than a stream of events."""
    with serving(loop, http) as site:

        async def changing(scope: Any, receive: Any, send: Any) -> None:
            async def change(message: Any) -> None:
                if message["type"] == "http.response.start":
                    kept = [pair for pair in message["headers"] if pair[0] != header[0]]
                    message = message | {"status": status, "headers": [*kept, header]}
                await send(message)

            await site.stream(scope, receive, change)

        site.app = changing
        connection = await site.connect()
        stream = await connection.send("GET", "/").head()
        await site.until(connected=1)
        await site.ping()
        assert site.broadcaster.stats()["direct"] == 0
        site.broadcast(0, 1)
        site.broadcaster.close()
        await stream.end()
        assert (stream.status, stream.headers[header[0].decode()]) == (status, header[1].decode())
        assert numbers(stream.body) == range(2)
        await pong(connection)
        connection.close()
        await site.nothing_is_left()


class Interrupted:
    """An app that does something else in the middle of its stream."""

    def __init__(self, site: Site) -> None:
        self.stream = site.stream
        self.loop: Any = None
        self.tasks: list[asyncio.Task[None]] = []
        self.now: asyncio.Event | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.now = self.now or asyncio.Event()
        self.tasks.append(asyncio.current_task())
        inner = asyncio.create_task(self.stream(scope, receive, send))
        interrupted = asyncio.create_task(self.now.wait())
        try:
            await asyncio.wait({inner, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            if "raise" in scope["path"] and not inner.done():
                raise RuntimeError("the app's own")
        finally:
            interrupted.cancel()
            if "cancel" in scope["path"]:
                inner.cancel()

    def interrupt(self, how: str) -> None:
        for task in self.tasks:
            self.loop.call_soon_threadsafe(task.cancel if how == "cancel" else self.now.set)


@each_pair
@pytest.mark.parametrize("how", ["raise", "return", "cancel"])
async def test_an_app_that_leaves_its_stream(loop: str, http: str, how: str) -> None:
    with serving(loop, http) as site:
        [other] = await site.open()
        site.app = app = Interrupted(site)
        streams = await site.open(3, target=f"/{how}")
        await site.until(direct=4)
        site.broadcast(*range(10))
        await saw([other, *streams], "9")
        app.interrupt(how)
        for stream in streams:
            with contextlib.suppress(ProtocolError, ConnectionError):
                await stream.until(lambda stream=stream: stream.connection.closed_by_server)
            assert numbers(stream.body) == range(10)
            assert not stream.complete or how == "cancel"
            assert not stream.connection.rest()
        await site.until(connected=1, direct=1)
        site.broadcast(10)
        await saw([other], "10")
        assert numbers(other.body) == range(11)
        await leave(other, *streams)
        await site.nothing_is_left()


@pytest.mark.skipif(sys.platform != "linux", reason="what needs a descriptor there is not known")
@each_pair
async def test_a_process_without_descriptors_serves_as_it_always_did(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        connections = [await site.connect() for _ in range(3)]
        for connection in connections:
            await pong(connection)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            streams = [connection.send("GET", "/") for connection in connections]
            for stream in streams:
                await stream.until(lambda stream=stream: stream.size > 0)
            site.broadcast(*range(10))
            await saw(streams, "9")
            assert site.broadcaster.stats()["direct"] == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        streams += await site.open()
        await site.until(connected=4, direct=1)
        site.broadcast(*range(10, 20))
        await saw(streams, "19")
        for stream, first in zip(streams, (0, 0, 0, 10), strict=True):
            assert numbers(stream.body) == range(first, 20)
        await leave(*streams)
        await site.nothing_is_left()


@each_pair
async def test_a_message_that_is_refused_leaves_the_stream_as_it_was(loop: str, http: str) -> None:
    sends: list[Any] = []
    with serving(loop, http) as site:
        site.broadcaster = Broadcaster(strict=False, heartbeat_interval=0.1)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            sends.append((asyncio.get_running_loop(), send))
            await site.stream(scope, receive, send)

        site.app = app
        [stream] = await site.open()
        await site.until(direct=1)
        there, send = sends[0]
        refused = asyncio.run_coroutine_threadsafe(send({"type": "http.response.trailers", "headers": []}), there)
        with pytest.raises(RuntimeError):
            await asyncio.wrap_future(refused)
        await site.until(direct=1)
        beats = stream.body.count(b": heartbeat")
        await stream.until(lambda: stream.body.count(b": heartbeat") > beats + 2)
        await leave(stream)
        await site.nothing_is_left()


@each_pair
async def test_an_app_that_names_the_message_and_copies_the_scope(loop: str, http: str) -> None:
    with serving(loop, http) as site:

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def by_name(message: Any) -> None:
                await send(message=message)

            await site.stream(copy.deepcopy(scope), receive, by_name)

        site.app = app
        [stream] = await site.open()
        await site.until(direct=1)
        site.broadcast(0)
        await saw([stream], "0")
        await leave(stream)
        await site.nothing_is_left()


@each_pair
async def test_a_stream_behind_a_response_that_is_complete(loop: str, http: str) -> None:
    """As in a task that a framework runs after it: nothing of it goes to the connection, which is free."""
    with serving(loop, http) as site:

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def never() -> Any:
                await asyncio.get_running_loop().create_future()

            async def to_nobody(message: Any) -> None: ...

            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
            await site.stream(scope, never, to_nobody)

        site.app = app
        connection = await site.connect()
        await connection.send("GET", "/").end()
        await site.until(connected=1, direct=0)
        await pong(connection)
        connection.close()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_what_the_pages_have_brought_comes_once(loop: str) -> None:
    """The server is ahead of this process, so a client waits here for events only to pass over them."""
    with serving(loop, "httptools") as site:
        site.broadcaster, archive = paged()
        archive.meet(10)
        archive.entries = [
            Entry(position(number), "message", b"%d%b" % (number, b"." * 1_500_000)) for number in range(1, 15)
        ]
        stream = (await connect_without_reading(site.port)).send("GET", "/", headers=f"Last-Event-ID: {id_of(2)}\r\n")
        await site.until(connected=1)
        stream.connection.read_on()
        await stream.until(found(stream, b"data: 14."))
        site.broadcaster._deliver([Entry(position(number), "message", b"%d." % number) for number in range(11, 17)])
        await stream.until(found(stream, b"data: 16."))
        assert [int(number) for number in re.findall(rb"data: (\d+)", stream.body)] == [*range(3, 17)]
        await site.until(direct=1)
        await leave(stream)
        await site.nothing_is_left()


# The end of the server.


async def connections_of(site: Site, number: int) -> list[Any]:
    await until(lambda: len(site.server.server_state.connections) == number)
    return list(site.server.server_state.connections)


@each_pair
@pytest.mark.parametrize("graceful", [None, 5], ids=["for ever", "5 s"])
async def test_a_server_that_stops_ends_its_streams(loop: str, http: str, graceful: int | None) -> None:
    """No signal tells anybody, only uvicorn's own end."""
    with serving(loop, http, timeout_graceful_shutdown=graceful) as site:
        streams = await site.open(20)
        await site.until(direct=20)
        site.broadcast(*range(10))
        stopped = asyncio.create_task(asyncio.to_thread(site.stop, 2))
        for stream in streams:
            await stream.end()
            assert numbers(stream.body) == range(10)
            await stream.connection.closed()
            stream.connection.close()
        await stopped
        await site.nothing_is_left()


@each_pair
async def test_a_server_that_stops_ends_what_begins_in_that_turn(loop: str, http: str) -> None:
    """asyncio makes a connection some turns after it has accepted it. Nobody would tell this one."""
    with serving(loop, http) as site:
        [stream] = await site.open()
        [protocol] = site.server.server_state.connections
        begins, goes_on = threading.Event(), threading.Event()
        protocol.loop.call_soon_threadsafe(lambda: begins.set() or goes_on.wait(10))
        await asyncio.to_thread(begins.wait, 10)
        late = [(await connect_without_reading(site.port)).send("GET", "/") for _ in range(5)]
        stopped = asyncio.create_task(asyncio.to_thread(site.stop, 5))
        await until(lambda: site.server.should_exit)
        goes_on.set()
        await stopped
        await leave(stream, *late)


def come_and_stop(protocol: Any, request: bytes) -> None:
    protocol.data_received(request)
    protocol.shutdown()


@each_pair
async def test_a_server_that_stops_behind_a_stream_whose_task_has_not_begun(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        connection = await site.connect()
        [protocol] = await connections_of(site, 1)
        protocol.loop.call_soon_threadsafe(come_and_stop, protocol, GET)
        await connection.expect("GET").end()
        await connection.closed()
        connection.close()


@each_pair
async def test_a_server_that_stops_gives_what_is_no_stream_its_time(loop: str, http: str) -> None:
    """Although there was one before, and the task of the new request has not begun."""
    may_end = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(may_end.wait(), here))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"slow"})

    here = asyncio.get_running_loop()
    with serving(loop, http) as site:
        [stream] = await site.open()
        [protocol] = await connections_of(site, 1)
        site.broadcaster.close()
        await stream.end()
        site.app = slow
        answer = stream.connection.expect("GET")
        protocol.loop.call_soon_threadsafe(come_and_stop, protocol, GET)
        await asyncio.sleep(1.5)  # longer than a stream would have
        may_end.set()
        await answer.end()
        assert answer.body == b"slow"
        await leave(stream)


@each_pair
async def test_a_server_that_stops_leaves_other_loops_alone(loop: str, http: str) -> None:
    """A stream that runs on another thread's loop is not its to end; it is cut like what is left of others."""
    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    reasons: list[tuple[int | None, str | None]] = []
    told = Broadcaster(
        strict=False, on_disconnect=lambda client: reasons.append((threading.get_ident(), client.reason))
    )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        here = asyncio.get_running_loop()

        async def there(message: Any) -> None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(send(message), here))

        async def its() -> Any:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(receive(), here))

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(EventStream(told)(scope, its, there), other))

    thread.start()
    with serving(loop, http) as site:
        site.app, site.broadcaster = app, told
        [stream] = await site.open()
        await asyncio.to_thread(site.stop, 5)
        await until(lambda: reasons == [(thread.ident, "left")], lambda: reasons)
        await leave(stream)
    other.call_soon_threadsafe(other.stop)
    await asyncio.to_thread(thread.join, 10)
    other.close()


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_a_server_that_serves_again(http: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"pong"})

    server = uvicorn.Server(uvicorn.Config(app, http=protocol(http), lifespan="off", log_config=None))
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server.should_exit = server.started = False
            serves = asyncio.create_task(server.serve([listener]))
            await until(lambda: server.started)
            connection = await connect(listener.getsockname()[1])
            await pong(connection)
            server.should_exit = True
            await serves
            connection.close()


@each_pair
async def test_a_server_that_stops_ends_both_streams_of_a_response(loop: str, http: str) -> None:
    told: list[tuple[str, str | None]] = []
    first, second = (
        Broadcaster(strict=False, on_disconnect=lambda client, name=name: told.append((name, client.reason)))
        for name in ("first", "second")
    )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def parts(message: Any) -> None:
            if message.get("body"):
                await send(message)

        other = asyncio.create_task(EventStream(second)(scope, receive, parts))
        await EventStream(first)(scope, receive, send)
        await other

    with serving(loop, http) as site:
        site.app, site.broadcaster = app, first
        [stream] = await site.open()
        await until(lambda: second.client_count == 1)
        await asyncio.to_thread(site.stop, 3)
        await stream.end()
        assert sorted(told) == [("first", "shutdown"), ("second", "shutdown")]
        await leave(stream)


@each_pair
async def test_a_server_that_stops_waits_for_no_stream_that_begins_then(loop: str, http: str) -> None:
    """Its client reads nothing."""
    begins, goes_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        here.call_soon_threadsafe(begins.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(goes_on.wait(), here))
        await EventStream(site.broadcaster, initial=[("message", "." * 8_000_000)])(scope, receive, send)

    here = asyncio.get_running_loop()
    with serving(loop, http) as site:
        site.app = app
        stuck = (await connect_without_reading(site.port)).send("GET", "/")
        await begins.wait()
        stopped = asyncio.create_task(asyncio.to_thread(site.stop, 8))
        await until(lambda: not site.server.servers[0].is_serving())  # it stops, and has told the connections
        goes_on.set()
        await stopped
        await leave(stuck)


@each_pair
async def test_a_server_that_stops_does_not_wait_for_who_reads_nothing(loop: str, http: str) -> None:
    with serving(loop, http, send_buffer=8192) as site:
        stuck = await site.open_stuck()
        [reading] = await site.open()
        await site.until(direct=2)
        site.broadcast(*(f"{number}{LARGE}" for number in range(200)))
        await saw([reading], f"199{LARGE}")
        await asyncio.to_thread(site.stop, 3)
        await reading.end()
        stuck.connection.read_on()
        with pytest.raises((ProtocolError, ConnectionError)):
            await stuck.end()
        await site.nothing_is_left()
        await leave(reading)
