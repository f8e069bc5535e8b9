"""The hand-off and the offer: when C may write to the socket, and when not. The server is what we use of one."""

import asyncio
import gc
import logging
import os
import socket
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from exchange import until
from support import HEARTBEAT, message, permissive

from fastware_sse import Broadcaster, _seldom
from fastware_sse._core import Handoff, Sender, Wrapper
from fastware_sse._stream import byte_stream
from fastware_sse.asgi import EventStream

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="direct fan-out needs epoll")

EVENT = message("x")


class Transport:
    """What asyncio's is to us: a socket, and a buffer that is sent when the test says so."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.buffer = b""
        self.holds_back = False
        self.is_aborted = False
        self.protocol: Any = None
        self.extra: dict[str, Any] = {"socket": end}

    def write(self, data: bytes) -> None:
        self.buffer += data
        self.flush()

    def flush(self) -> None:
        if not self.holds_back:
            self.end.setblocking(True)
            self.end.sendall(self.buffer)
            self.end.setblocking(False)
            self.buffer = b""

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def get_extra_info(self, name: str) -> Any:
        return self.extra.get(name)

    def get_protocol(self) -> Any:
        return self.protocol

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


class Cycle:
    """uvicorn's request and response, without the head."""

    def __init__(self, scope: dict[str, Any], transport: Transport) -> None:
        self.scope = scope
        self.transport = transport
        self.disconnected = self.more_body = self.response_complete = False
        self.chunked_encoding: bool | None = True
        self.message_event = asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        body = message.get("body", b"")
        if self.disconnected or message["type"] == "http.response.start":
            return
        if body:
            self.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
        if not message.get("more_body"):
            self.transport.write(b"0\r\n\r\n")
            self.response_complete = True

    async def receive(self) -> dict[str, Any]:
        await self.message_event.wait()
        return {"type": "http.disconnect"}


class Protocol:
    def __init__(self, app: Any, transport: Transport) -> None:
        self.flow = self
        self.loop = asyncio.get_running_loop()
        self.transport = transport
        self.sse_owner: Any = None
        self.wrapper = Wrapper(app, self)

    def resume_reading(self) -> None: ...

    def sse_release(self, offer: Any) -> None:
        if self.sse_owner is offer:
            self.sse_owner = None

    def lose(self) -> None:
        owner, self.sse_owner = self.sse_owner, None
        if owner is not None:
            owner.lost()
        self.wrapper.release()


class Connection:
    """A client at the other end, and its one request to `app`."""

    def __init__(self, app: Any, *, method: str = "GET", **extra: Any) -> None:
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self.far.setblocking(False)
        self.transport = Transport(near)
        self.transport.extra |= extra
        self.protocol = self.transport.protocol = Protocol(app, self.transport)
        self.scope = {"type": "http", "method": method, "path": "/", "headers": [], "http_version": "1.1"}
        self.cycle = Cycle(self.scope, self.transport)
        self.received = bytearray()
        self._at = 0  # in front of it all is parsed
        self._text = ""
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        await self.protocol.wrapper(self.scope, self.cycle.receive, self.cycle.send)

    @property
    def text(self) -> str:
        """All that has arrived in whole chunks, and nothing may stand between them."""
        new: list[bytes] = []
        try:
            while part := self.far.recv(1 << 20):
                self.received += part
        except BlockingIOError:
            pass
        while (end := self.received.find(b"\r\n", self._at)) >= 0:
            begin, length = end + 2, int(self.received[self._at : end], 16)
            if begin + length + 2 > len(self.received):
                break
            self._at = begin + length + 2
            assert self.received[self._at - 2 : self._at] == b"\r\n"
            new.append(self.received[begin : begin + length])
        if new:
            self._text += b"".join(new).decode()
        return self._text

    async def has(self, text: str) -> None:
        await until(lambda: self.text == text)


@pytest.fixture
def broadcaster() -> Iterator[Broadcaster]:
    broadcaster = permissive()
    yield broadcaster
    broadcaster.close()


def direct(broadcaster: Broadcaster) -> int:
    return broadcaster.stats()["direct"]


async def attached(broadcaster: Broadcaster, app: Any = None, **options: Any) -> Connection:
    connection = Connection(app or EventStream(broadcaster), **options)
    await until(lambda: direct(broadcaster) == 1)
    assert connection.text == ":\n\n"
    return connection


async def ordinary(broadcaster: Broadcaster, connection: Connection, before: str = ":\n\n") -> None:
    """It gets its events, and not from C."""
    await until(lambda: broadcaster.client_count == 1 and connection.text.endswith(before))
    broadcaster.broadcast("message", "x")
    await until(lambda: connection.text.endswith(EVENT))
    assert direct(broadcaster) == 0


def changed(app: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def changed_send(message: dict[str, Any]) -> None:
            await send(change(message))

        await app(scope, receive, changed_send)

    return wrapped


async def test_a_client_becomes_direct_and_gets_what_all_get(broadcaster: Broadcaster) -> None:
    connection = await attached(broadcaster)
    for _ in range(3):
        broadcaster.broadcast("message", "x")
    await connection.has(":\n\n" + 3 * EVENT)
    assert broadcaster.client_count == 1
    broadcaster.close()
    await asyncio.wait_for(connection.task, 5)
    assert connection.text == ":\n\n" + 3 * EVENT
    assert connection.received.endswith(b"0\r\n\r\n") and connection.cycle.response_complete
    assert direct(broadcaster) == 0 and connection.protocol.sse_owner is None


async def test_what_the_hooks_are_told_counts_direct_events() -> None:
    told = []
    broadcaster = permissive(on_disconnect=lambda client: told.append((client.events, client.bytes, client.reason)))
    connection = await attached(broadcaster)
    broadcaster.broadcast("message", "x")
    await connection.has(":\n\n" + EVENT)
    asyncio.get_running_loop().call_soon(connection.protocol.lose)
    await asyncio.wait_for(connection.task, 5)
    assert told == [(1, len(EVENT), "left")]


async def test_heartbeats(broadcaster: Broadcaster) -> None:
    broadcaster = permissive(heartbeat_interval=0.05)
    connection = await attached(broadcaster)
    await connection.has(":\n\n" + HEARTBEAT)
    broadcaster.broadcast("message", "x")
    await connection.has(":\n\n" + HEARTBEAT + EVENT)
    await connection.has(":\n\n" + HEARTBEAT + EVENT + HEARTBEAT)
    broadcaster.close()
    await connection.task


async def test_a_client_that_has_gone_is_no_client(broadcaster: Broadcaster) -> None:
    connection = await attached(broadcaster)
    connection.far.close()
    broadcaster.broadcast("message", "x")
    await until(lambda: connection.transport.is_aborted)
    await asyncio.wait_for(connection.task, 5)
    assert broadcaster.client_count == direct(broadcaster) == 0


async def test_what_a_request_leaves_behind_needs_no_collection() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    connection = Connection(app)
    await connection.task
    gc.collect()
    gc.disable()
    try:
        handoff = weakref.ref(connection.cycle)
        del connection.cycle, connection.scope, connection.task
        assert handoff() is None
    finally:
        gc.enable()


async def test_what_a_direct_stream_leaves_behind_needs_no_collection(broadcaster: Broadcaster) -> None:
    connection = await attached(broadcaster)
    left = [weakref.ref(connection.cycle), weakref.ref(connection.protocol)]
    gc.collect()
    gc.disable()
    try:
        asyncio.get_running_loop().call_soon(connection.protocol.lose)
        await asyncio.wait_for(connection.task, 5)
        connection.transport.protocol = connection.protocol.flow = None  # as the server does, or has not
        del connection
        assert [one() for one in left] == [None, None]
    finally:
        gc.enable()


async def test_the_scope_carries_the_hand_off_and_keeps_its_extensions() -> None:
    seen = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope["extensions"], send=send)

    wrapper = Wrapper(app, protocol := object())
    await wrapper({"type": "http", "extensions": {"theirs": 1}}, None, send := object())
    assert seen["theirs"] == 1
    assert type(seen["fastware.sse"]) is Handoff and type(seen["send"]) is Sender
    assert seen["fastware.sse"].sender is seen["send"]
    assert seen["send"].send is send and seen["send"].protocol is protocol
    handoff = wrapper.current
    assert handoff is seen["fastware.sse"]
    seen.clear()
    assert handoff.sender is None

    wrapper.release()
    assert wrapper.current is None
    seen["extensions"] = None
    with pytest.raises(KeyError):
        await wrapper({"type": "http"}, None, send)


async def test_where_there_is_no_direct_way_from_the_start(broadcaster: Broadcaster) -> None:
    for options in ({"sslcontext": object()}, {"ssl_object": object()}):
        await ordinary(broadcaster, Connection(EventStream(broadcaster), **options))
        broadcaster = permissive()


async def test_a_broadcaster_opts_out() -> None:
    broadcaster = permissive(direct=False)
    await ordinary(broadcaster, Connection(EventStream(broadcaster)))


async def test_a_request_whose_body_is_not_read_yet(broadcaster: Broadcaster) -> None:
    connection = Connection(EventStream(broadcaster))
    connection.cycle.more_body = True
    await ordinary(broadcaster, connection)


async def test_head_is_answered_as_ever(broadcaster: Broadcaster) -> None:
    connection = Connection(EventStream(broadcaster), method="HEAD")
    await connection.task
    assert connection.protocol.sse_owner is None and connection.received == b""


@pytest.mark.parametrize(
    "header",
    [
        (b"content-encoding", b"gzip"),
        (b"content-length", b"100000"),
        (b"Transfer-Encoding", b"chunked"),
        (b"trailer", b"x"),
    ],
)
async def test_a_response_that_is_no_plain_stream(broadcaster: Broadcaster, header: tuple[bytes, bytes]) -> None:
    def change(message: dict[str, Any]) -> dict[str, Any]:
        return message | {"headers": [*message["headers"], header]} if "headers" in message else message

    connection = Connection(changed(EventStream(broadcaster), change))
    await ordinary(broadcaster, connection)
    assert connection.protocol.sse_owner is None


async def test_another_content_type_or_status(broadcaster: Broadcaster) -> None:
    for wrong in ({"status": 203}, {"headers": [(b"content-type", b"text/plain")]}):
        broadcaster = permissive()

        def change(message: dict[str, Any], wrong: dict[str, Any] = wrong) -> dict[str, Any]:
            return message | wrong if "headers" in message else message

        await ordinary(broadcaster, Connection(changed(EventStream(broadcaster), change)))


async def test_a_middleware_that_rewrites_every_body(broadcaster: Broadcaster) -> None:
    def change(message: dict[str, Any]) -> dict[str, Any]:
        return message | {"body": b":\n\n" + message["body"]} if message.get("body") else message

    connection = Connection(changed(EventStream(broadcaster), change))
    await ordinary(broadcaster, connection)
    assert connection.protocol.sse_owner is None


async def test_a_middleware_that_rewrites_later_bodies(broadcaster: Broadcaster) -> None:
    """Initial events of their own body: the first comes through, and the second does not."""
    big = "x" * 65_536

    def change(message: dict[str, Any]) -> dict[str, Any]:
        return message | {"body": message["body"] + b":\n\n"} if b"last" in message.get("body", b"") else message

    app = EventStream(broadcaster, initial=[("message", big), ("message", "last")])
    await ordinary(broadcaster, Connection(changed(app, change)))


async def test_a_middleware_that_hands_bodies_to_another_task(broadcaster: Broadcaster) -> None:
    """The stream goes on before the server has seen what it gave."""
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()

        async def pump() -> None:
            while True:
                item = await queue.get()
                await gate.wait()
                await send(item)

        task = asyncio.get_running_loop().create_task(pump())
        await EventStream(broadcaster)(scope, receive, queue.put)
        task.cancel()

    connection = Connection(app)
    await until(lambda: broadcaster.client_count == 1)
    broadcaster.broadcast("message", "x")
    for _ in range(20):
        await asyncio.sleep(0)
    assert direct(broadcaster) == 0
    gate.set()
    await until(lambda: direct(broadcaster) == 1)
    broadcaster.broadcast("message", "x")
    await connection.has(":\n\n" + 2 * EVENT)


async def test_nothing_is_written_past_a_transport_that_holds_bytes_back(broadcaster: Broadcaster) -> None:
    connection = Connection(EventStream(broadcaster, initial=[("message", "first")]))
    connection.transport.holds_back = True
    await until(lambda: broadcaster.client_count == 1 and connection.transport.buffer != b"")
    broadcaster.broadcast("message", "x")
    await asyncio.sleep(0.01)
    assert direct(broadcaster) == 0 and connection.text == ""
    connection.transport.holds_back = False
    connection.transport.flush()
    await until(lambda: direct(broadcaster) == 1)
    await connection.has(message("first") + EVENT)


async def test_who_else_sends_takes_the_socket_back(broadcaster: Broadcaster) -> None:
    sends = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sends.append(send)
        await EventStream(broadcaster)(scope, receive, send)

    connection = await attached(broadcaster, app)
    expected = ":\n\n"
    for number in range(50):
        broadcaster.broadcast("message", str(number))
        await sends[0]({"type": "http.response.body", "body": b": foreign\n\n", "more_body": True})
        await until(lambda: direct(broadcaster) == 1)
        await sends[0]({"type": "http.response.body", "body": b"", "more_body": True})
        assert connection.protocol.sse_owner._is_attached, "nothing to send takes nothing back"
    await until(lambda: connection.text.count("data:") == 50)
    events = [line for line in connection.text.split("\n") if line.startswith("data:")]
    assert events == [f"data: {number}" for number in range(50)]
    assert connection.text.count(": foreign\n\n") == 50 and connection.text.startswith(expected)
    await until(lambda: direct(broadcaster) == 1)


async def test_a_slow_client_gets_everything_in_order(broadcaster: Broadcaster) -> None:
    broadcaster = permissive(0)
    connection = await attached(broadcaster)
    big = message("x" * 9_999)
    for _ in range(400):  # far more than a socket holds
        broadcaster.broadcast("message", "x" * 9_999)
    await asyncio.sleep(0.02)
    assert broadcaster.stats()["direct"] == 1
    await connection.has(":\n\n" + 400 * big)


async def test_a_burst_larger_than_the_buffer_prunes_nobody_whose_socket_takes_it() -> None:
    broadcaster = permissive(16)
    connection = await attached(broadcaster)
    for _ in range(1000):
        broadcaster.broadcast("message", "x")
    await connection.has(":\n\n" + 1000 * EVENT)
    stats = broadcaster.stats()
    assert (stats["direct"], stats["pruned"], stats["log_events"]) == (1, 0, 0)


async def test_a_burst_beyond_what_the_group_may_wait_for_prunes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fastware_sse")
    broadcaster = permissive(16)
    connection = await attached(broadcaster)
    for _ in range(65_537):
        broadcaster.broadcast("message", "x")
    assert (broadcaster.client_count, broadcaster.stats()["pruned"]) == (0, 1)
    assert "pruned 1 SSE clients that had no chance to read" in caplog.text
    await connection.has(":\n\n" + 65_536 * EVENT)
    await asyncio.wait_for(connection.task, 5)
    assert connection.text and connection.received.endswith(b"0\r\n\r\n")


async def test_the_bytes_that_the_group_may_wait_for_are_limited_without_a_limit_of_events() -> None:
    broadcaster = permissive(0, max_buffer_bytes=1000)
    connection = await attached(broadcaster)
    text = "x" * ((1 << 20) - len(message("")))
    for _ in range(16):
        broadcaster.broadcast("message", text)
    assert broadcaster.client_count == 1
    broadcaster.broadcast("message", "")
    assert (broadcaster.client_count, broadcaster.stats()["pruned_by_bytes"]) == (0, 1)
    await connection.has(":\n\n" + 16 * message(text))
    await asyncio.wait_for(connection.task, 5)


async def test_a_slow_direct_client_that_is_pruned_does_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fastware_sse")
    broadcaster = permissive(16)
    connection = await attached(broadcaster)
    broadcaster.broadcast("message", "x" * 5_000_000)  # far more than a socket holds
    await until(lambda: broadcaster.stats()["log_events"] == 0)
    for _ in range(17):
        broadcaster.broadcast("message", "x")
    assert (broadcaster.client_count, broadcaster.stats()["pruned"]) == (0, 1)
    assert [record.getMessage() for record in caplog.records] == ["pruned 1 slow SSE clients (0 remain)"]
    asyncio.get_running_loop().call_soon(connection.protocol.lose)
    await asyncio.wait_for(connection.task, 5)


async def test_a_thread_that_publishes_waits_for_direct_clients_too() -> None:
    broadcaster = permissive(65_536)
    connection = await attached(broadcaster)

    def publish() -> None:
        for _ in range(70_000):
            broadcaster.broadcast("message", "x")

    thread = asyncio.get_running_loop().run_in_executor(None, publish)
    time.sleep(0.3)  # the loop has no turn for as long
    assert broadcaster.stats()["events"] < 65_536
    async with asyncio.timeout(60):
        while not thread.done() or len(connection.text) < 70_000 * len(EVENT):
            await asyncio.sleep(0.01)
    assert broadcaster.stats()["pruned"] == 0
    assert connection.text == ":\n\n" + 70_000 * EVENT


async def test_after_a_fork_the_child_writes_to_nobody() -> None:
    broadcaster = permissive()
    connection = await attached(broadcaster)
    child = os.fork()
    if child == 0:
        broadcaster.broadcast("message", "the child's")
        ok = broadcaster.client_count == direct(broadcaster) == 0
        [stream] = connection.protocol.wrapper.current.streams
        stream.stop()
        gc.collect()
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    broadcaster.broadcast("message", "x")
    await connection.has(":\n\n" + EVENT)


async def test_a_slow_client_that_is_closed_gets_what_it_is_owed(broadcaster: Broadcaster) -> None:
    broadcaster = permissive(0)
    connection = await attached(broadcaster)
    connection.transport.holds_back = True  # what is handed back must not block the test
    for _ in range(400):
        broadcaster.broadcast("message", "x" * 9_999)
    broadcaster.close()
    while not connection.task.done() or connection.transport.buffer:
        try:
            connection.received += connection.far.recv(1 << 20)
        except BlockingIOError:
            await asyncio.sleep(0)
        if connection.transport.buffer and connection.task.done():
            sent = connection.transport.end.send(connection.transport.buffer[:65_536])
            connection.transport.buffer = connection.transport.buffer[sent:]
    assert connection.text == ":\n\n" + 400 * message("x" * 9_999)
    assert connection.received.endswith(b"0\r\n\r\n")


async def test_a_slow_client_that_is_told_to_finish_gets_the_rest_of_its_chunk_first() -> None:
    broadcaster = permissive(0)
    connection = await attached(broadcaster)
    for _ in range(400):
        broadcaster.broadcast("message", "x" * 9_999)
    await asyncio.sleep(0.02)  # the socket is full, somewhere in a chunk
    connection.transport.holds_back = True
    asyncio.get_running_loop().call_soon(broadcaster._end_streams, asyncio.get_running_loop())
    await asyncio.wait_for(connection.task, 5)
    assert direct(broadcaster) == 0 and len(connection.transport.buffer) > 9_999
    connection.far.setblocking(False)
    while connection.transport.buffer:
        assert connection.text is not None
        sent = connection.transport.end.send(connection.transport.buffer[:65_536])
        connection.transport.buffer = connection.transport.buffer[sent:]
    assert connection.text == ":\n\n" + 400 * message("x" * 9_999)
    assert connection.received.endswith(b"0\r\n\r\n")


async def test_one_for_whose_rest_there_is_no_memory_gets_nothing_more(broadcaster: Broadcaster) -> None:
    testcapi = pytest.importorskip("_testcapi", reason="this Python was built without its test modules")
    broadcaster = permissive(0)
    connection = await attached(broadcaster)
    broadcaster.broadcast("message", "x" * 5_000_000)
    await asyncio.sleep(0.02)  # the socket is full, in the middle of the chunk
    loop, failed = asyncio.get_running_loop(), []

    def end_streams() -> None:
        testcapi.set_nomemory(len(failed), len(failed) + 1)
        try:
            broadcaster._end_streams(loop)
        except MemoryError:
            failed.append(direct(broadcaster))
        finally:
            testcapi.remove_mem_hooks()

    while direct(broadcaster):  # until it is that of the rest
        loop.call_soon(end_streams)
        await asyncio.sleep(0)
    assert failed[-1] == 0
    assert connection.transport.is_aborted
    await asyncio.wait_for(connection.task, 5)
    before = len(connection.received)
    assert connection.text == ":\n\n" and b"0\r\n\r\n" not in connection.received[before:]
    assert direct(broadcaster) == broadcaster.client_count == 0


async def test_the_server_stops(broadcaster: Broadcaster) -> None:
    told = []
    broadcaster = permissive(on_disconnect=lambda client: told.append(client.reason))
    connection = await attached(broadcaster)
    handoff = connection.protocol.wrapper.current
    [stream] = handoff.streams
    asyncio.get_running_loop().call_soon(stream.stop)
    await asyncio.wait_for(connection.task, 5)
    assert told == ["shutdown"] and connection.cycle.response_complete
    assert handoff.streams == ()


async def test_a_stream_that_begins_while_the_server_stops_ends_at_once(broadcaster: Broadcaster) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["fastware.sse"].is_ending = True
        await EventStream(broadcaster)(scope, receive, send)

    connection = Connection(app)
    await asyncio.wait_for(connection.task, 5)
    assert connection.cycle.response_complete and connection.text == ":\n\n"


async def test_a_socket_that_stays_full_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fastware_sse")
    told = []
    broadcaster = permissive(on_disconnect=lambda client: told.append(client.reason))
    connection = await attached(broadcaster, EventStream(broadcaster, send_timeout=0.2))
    for _ in range(100):
        broadcaster.broadcast("message", "x" * 99_999)
    await until(lambda: connection.transport.is_aborted)
    await asyncio.wait_for(connection.task, 5)
    assert told == ["send_timeout"] and broadcaster.client_count == 0
    assert broadcaster.stats()["stuck"] == 1
    assert [record.getMessage() for record in caplog.records] == ["dropped an SSE client that has stopped reading"]


async def test_one_whose_transport_stays_full_is_given_up_too() -> None:
    """After somebody else has sent into the stream it is the transport that holds the bytes."""
    told = []
    broadcaster = permissive(on_disconnect=lambda client: told.append(client.reason))
    sends = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sends.append(send)
        await EventStream(broadcaster, send_timeout=0.2)(scope, receive, send)

    connection = await attached(broadcaster, app)
    connection.transport.holds_back = True
    await sends[0]({"type": "http.response.body", "body": b": foreign\n\n", "more_body": True})
    assert direct(broadcaster) == 0
    await until(lambda: connection.transport.is_aborted)
    await asyncio.wait_for(connection.task, 5)
    assert told == ["send_timeout"]


async def test_one_that_reads_slowly_what_the_transport_holds_is_kept(broadcaster: Broadcaster) -> None:
    """The transport has room again only once a third of the kernel's buffer is free."""
    sends = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sends.append(send)
        await EventStream(broadcaster, send_timeout=0.3)(scope, receive, send)

    connection = await attached(broadcaster, app)
    for _ in range(50):
        await sends[0]({"type": "http.response.body", "body": b"." * 1_000, "more_body": True})
    await until(lambda: direct(broadcaster) == 1)
    connection.transport.holds_back = True
    await sends[0]({"type": "http.response.body", "body": b": foreign\n\n", "more_body": True})
    for _ in range(20):
        await asyncio.sleep(0.05)
        connection.far.recv(2_000)
    assert not connection.transport.is_aborted
    await until(lambda: connection.transport.is_aborted)
    await asyncio.wait_for(connection.task, 5)


async def test_one_that_has_gone_to_c_meanwhile_is_not_given_up(broadcaster: Broadcaster) -> None:
    """The verdict on its transport was made in an earlier callback of the loop."""
    connection = await attached(broadcaster)
    asyncio.get_running_loop().call_soon(connection.protocol.sse_owner._drop_stuck)
    broadcaster.broadcast("message", "x")
    await connection.has(":\n\n" + EVENT)
    assert direct(broadcaster) == 1 and not connection.transport.is_aborted


async def test_two_streams_in_one_response_that_is_no_plain_one() -> None:
    first, second = permissive(), permissive()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 201, "headers": []})
        for broadcaster in (first, second):
            stream, _ = byte_stream(broadcaster, scope, None, head=False)
            async for body in stream:
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    connection = Connection(app)
    await ordinary(first, connection)
    first.close()
    await ordinary(second, connection)
    second.close()
    await asyncio.wait_for(connection.task, 5)
    assert connection.text == 2 * (":\n\n" + EVENT)


async def test_an_attach_that_fails_leaves_the_ordinary_way_and_is_told_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*ignored: Any) -> None:
        raise NotImplementedError

    async def records_of_one_more() -> list[str]:
        broadcaster = permissive()
        connection = Connection(EventStream(broadcaster))
        await ordinary(broadcaster, connection)
        broadcaster.close()
        await asyncio.wait_for(connection.task, 5)
        return [record.levelname for record in caplog.records]

    monkeypatch.setattr(_seldom, "_due", {})
    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
    assert [await records_of_one_more(), await records_of_one_more()] == [["WARNING"]] * 2
    _seldom._due["direct"] -= 60
    assert await records_of_one_more() == ["WARNING"] * 2
