"""What fastware.sse promises, promise by promise: each section is a row of the contract, and fails if that row breaks.

Where ours differs on purpose, see test_differences.py.
"""

import asyncio
import decimal
import gc
import inspect
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
from fastware import Request, Router
from fastware.responses import StreamResponse
from support import (
    HEARTBEAT,
    Client,
    connect,
    message,
    open_stream,
    permissive,
    request,
    stuck_client,
    turns,
)

from fastware_sse import Broadcaster, sse_route

# ---- row 1: the constructor ----


def test_constructor_has_the_documented_signature() -> None:
    signature = inspect.signature(Broadcaster)
    documented = [each.replace(annotation=each.empty) for each in list(signature.parameters.values())[:3]]
    assert str(signature.replace(parameters=documented, return_annotation=signature.empty)) == (
        "(buffer_size=256, *, strict=True, heartbeat_interval=None)"
    )
    extras = list(signature.parameters.values())[3:]
    assert all(extra.kind is extra.KEYWORD_ONLY and extra.default is not extra.empty for extra in extras)


def test_methods_have_the_documented_signatures() -> None:
    def names(function: Any) -> list[str]:
        return list(inspect.signature(function).parameters)

    broadcaster = Broadcaster()
    assert names(broadcaster.register_event) == ["name"]
    assert names(broadcaster.broadcast) == ["event", "data"]
    assert names(broadcaster._format_sse) == ["event", "data"]
    assert names(broadcaster.stream) == ["request", "initial"]
    assert inspect.signature(broadcaster.stream).parameters["initial"].default is None
    assert names(broadcaster._event_generator) == ["queue", "initial"]
    assert inspect.signature(broadcaster._event_generator).parameters["initial"].default is None
    assert names(sse_route) == ["broadcaster"]


def test_everything_public_has_a_docstring() -> None:
    for documented in [
        Broadcaster,
        Broadcaster.register_event,
        Broadcaster.event_types,
        Broadcaster.broadcast,
        Broadcaster.stream,
        Broadcaster.client_count,
        Broadcaster.close,
        Broadcaster._format_sse,
        Broadcaster._event_generator,
        sse_route,
    ]:
        assert (inspect.getdoc(documented) or "").endswith("."), documented


def test_buffer_size_is_positional_or_keyword_and_the_rest_keyword_only() -> None:
    assert Broadcaster()._buffer_size == 256
    assert Broadcaster(7)._buffer_size == 7
    assert Broadcaster(buffer_size=7)._buffer_size == 7
    with pytest.raises(TypeError):
        Broadcaster(7, False)


@pytest.mark.parametrize("size", [0, -1, -(10**30)])
async def test_a_buffer_size_of_zero_or_less_is_unbounded(size: int) -> None:
    broadcaster = permissive(size)
    client = await connect(broadcaster)
    for number in range(1000):
        broadcaster.broadcast("message", str(number))
    assert broadcaster.client_count == 1
    assert await client.has(1000) == [message(str(number)) for number in range(1000)]
    await client.leave()


# ---- rows 2 and 3: the registry ----


def test_register_event_is_idempotent() -> None:
    broadcaster = Broadcaster()
    for _ in range(2):
        assert broadcaster.register_event("update") is None
        assert broadcaster.event_types == {"update"}
    broadcaster.register_event(name="status")
    assert broadcaster.event_types == {"update", "status"}


def test_event_types_is_a_frozenset_copy() -> None:
    broadcaster = Broadcaster()
    broadcaster.register_event("a")
    before = broadcaster.event_types
    broadcaster.register_event("b")
    assert type(before) is frozenset
    assert before == {"a"}
    with pytest.raises(AttributeError):
        broadcaster.event_types = frozenset()


# ---- row 4: client_count ----


async def test_client_count_follows_the_streams() -> None:
    broadcaster = permissive(1)
    assert broadcaster.client_count == 0
    stream = await open_stream(broadcaster)
    assert broadcaster.client_count == 0, "a stream that has not begun is no client"
    client = Client(stream)
    await turns()
    assert broadcaster.client_count == 1
    stuck = await stuck_client(broadcaster)
    assert broadcaster.client_count == 2
    broadcaster.broadcast("message", "1")
    await client.has(1)
    broadcaster.broadcast("message", "2")
    assert broadcaster.client_count == 1, "the pruned client counts no more"
    await stuck.aclose()
    assert broadcaster.client_count == 1, "and is not subtracted twice"
    await client.leave()
    assert broadcaster.client_count == 0


def test_client_count_includes_foreign_queues() -> None:
    broadcaster = permissive()
    queue: asyncio.Queue[str] = asyncio.Queue()
    broadcaster._clients.append(queue)
    assert broadcaster.client_count == 1
    broadcaster._clients.remove(queue)
    assert broadcaster.client_count == 0
    with pytest.raises(AttributeError):
        broadcaster.client_count = 1


# ---- rows 5 and 6: strict and permissive ----


@pytest.mark.parametrize(
    ("registered", "listed"),
    [([], "[]"), (["a"], "['a']"), (["b", "a"], "['a', 'b']"), (["don't", "ask"], "['ask', \"don't\"]")],
)
def test_strict_mode_refuses_an_unregistered_event_with_this_text(registered: list[str], listed: str) -> None:
    broadcaster = Broadcaster()
    for name in registered:
        broadcaster.register_event(name)
    with pytest.raises(ValueError) as caught:
        broadcaster.broadcast("nope", {})
    assert str(caught.value) == (
        f"unregistered event type 'nope'; call register_event('nope') first (registered: {listed})"
    )


def test_strict_mode_quotes_the_event_as_repr_does() -> None:
    with pytest.raises(ValueError) as caught:
        Broadcaster().broadcast("it's\n", {})
    assert str(caught.value) == (
        """unregistered event type "it's\\n"; call register_event("it's\\n") first (registered: [])"""
    )


async def test_strict_mode_refuses_before_anything_is_formatted_or_sent() -> None:
    formatted = []

    class Watching(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            formatted.append(event)
            return super()._format_sse(event, data)

    broadcaster = Watching()
    client = await connect(broadcaster)
    for unencodable in (object(), "\ud800", b"bytes"):
        with pytest.raises(ValueError, match="^unregistered event type 'nope'"):
            broadcaster.broadcast("nope", unencodable)
        with pytest.raises(ValueError, match="^unregistered event type 'nope'"):
            Broadcaster().broadcast("nope", unencodable)
    broadcaster.close()
    assert await client.end() == []
    assert formatted == []


async def test_strict_mode_sends_a_registered_event() -> None:
    broadcaster = Broadcaster(strict=True)
    broadcaster.register_event("update")
    client = await connect(broadcaster)
    broadcaster.broadcast("update", {"ok": True})
    assert await client.has(1) == [message('{"ok":true}', "update")]
    await client.leave()


async def test_permissive_mode_sends_any_event() -> None:
    broadcaster = Broadcaster(strict=False)
    client = await connect(broadcaster)
    for name in ("anything", "", "with space: colon", "\N{BELL}", "\x85\u2028\v"):
        broadcaster.broadcast(name, "x")
    broadcaster.close()
    assert await client.end() == [
        message("x", name) for name in ("anything", "", "with space: colon", "\N{BELL}", "\x85\u2028\v")
    ]
    assert broadcaster.event_types == frozenset()


# ---- row 7: broadcast ----


async def test_broadcast_is_synchronous_and_returns_none() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    assert broadcaster.broadcast("message", "x") is None
    assert broadcaster.broadcast(event="message", data="y") is None
    assert broadcaster.stats()["events"] == 2
    assert await client.has(2) == [message("x"), message("y")]
    await client.leave()


async def test_broadcast_formats_once_for_any_number_of_clients() -> None:
    class Counting(Broadcaster):
        formatted = 0

        def _format_sse(self, event: str, data: Any) -> str:
            self.formatted += 1
            return super()._format_sse(event, data)

    broadcaster = Counting(strict=False)
    broadcaster.broadcast("message", "to nobody")
    assert broadcaster.formatted == 1
    clients = [await connect(broadcaster) for _ in range(3)]
    broadcaster._clients.append(asyncio.Queue())
    broadcaster.broadcast("message", "to all")
    assert broadcaster.formatted == 2
    for client in clients:
        assert await client.has(1) == [message("to all")]
        await client.leave()


def test_an_unencodable_payload_raises_with_no_client_connected() -> None:
    with pytest.raises(TypeError):
        permissive().broadcast("message", {"a": object()})


# ---- rows 8 to 10: the wire (every vector of it in test_wire.py) ----


def test_a_dict_is_the_json_of_msgspec() -> None:
    data = {"b": [1, 2.5, None, True], "a": "h\u00e9\n<\u2028>", "nested": {"x": {}}}
    json = msgspec.json.encode(data).decode()
    assert Broadcaster()._format_sse("update", data) == f"event: update\ndata: {json}\n\n"


def test_a_str_is_sent_verbatim_line_by_line() -> None:
    assert Broadcaster()._format_sse("m", ' {"not": json} \n\n\tz') == (
        'event: m\ndata:  {"not": json} \ndata: \ndata: \tz\n\n'
    )


def test_an_empty_payload_is_one_empty_data_line() -> None:
    assert Broadcaster()._format_sse("m", "") == "event: m\ndata: \n\n"


# ---- row 11: the buffer, and pruning ----


async def test_the_broadcast_that_finds_the_buffer_full_prunes_the_client() -> None:
    broadcaster = permissive(3)
    await stuck_client(broadcaster)
    for number in range(3):
        broadcaster.broadcast("message", str(number))
        assert broadcaster.client_count == 1
    broadcaster.broadcast("message", "one too many")
    assert broadcaster.client_count == 0, "when broadcast() returns"


async def test_the_default_buffer_holds_256_events() -> None:
    broadcaster = permissive()
    await stuck_client(broadcaster)
    for number in range(256):
        broadcaster.broadcast("message", str(number))
    assert broadcaster.client_count == 1
    broadcaster.broadcast("message", "one too many")
    assert broadcaster.client_count == 0


async def test_only_the_slow_client_is_pruned() -> None:
    broadcaster = permissive(2)
    stuck = await stuck_client(broadcaster)
    client = await connect(broadcaster)
    for number in range(10):
        broadcaster.broadcast("message", str(number))
        await client.has(number + 1)
    assert broadcaster.client_count == 1
    assert client.chunks == [message(str(number)) for number in range(10)]
    await stuck.aclose()
    await client.leave()


async def test_broadcasts_without_a_turn_for_the_loop_prune_everyone() -> None:
    broadcaster = permissive(4)
    clients = [await connect(broadcaster) for _ in range(3)]
    for number in range(4):
        broadcaster.broadcast("message", str(number))
    assert broadcaster.client_count == 3
    broadcaster.broadcast("message", "one too many")
    assert broadcaster.client_count == 0
    for client in clients:
        await client.end()


def records_of(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if (record.name, record.levelno) == ("fastware_sse", level)
    ]


async def test_each_pruning_broadcast_leaves_one_debug_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fastware_sse")
    broadcaster = permissive(2)
    streams = [await stuck_client(broadcaster) for _ in range(2)]
    broadcaster.broadcast("message", "1")
    streams.append(await stuck_client(broadcaster))
    broadcaster._clients.append(asyncio.Queue(2))
    broadcaster._clients.append(asyncio.Queue())
    broadcaster.broadcast("message", "2")
    assert caplog.records == []
    broadcaster.broadcast("message", "3")
    assert records_of(caplog, logging.DEBUG) == ["pruned 2 slow SSE clients (3 remain)"]
    broadcaster.broadcast("message", "4")
    assert records_of(caplog, logging.DEBUG)[1:] == ["pruned 2 slow SSE clients (1 remain)"]
    broadcaster.broadcast("message", "5")
    assert len(caplog.records) == 2, "nobody pruned, nothing to say"
    for stream in streams:
        await stream.aclose()


async def test_pruning_a_parked_reader_warns_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fastware_sse")
    for _ in range(2):  # each Broadcaster on its own
        broadcaster = permissive(2)
        for _ in range(3):
            clients = [await connect(broadcaster) for _ in range(2)]
            for number in range(3):
                broadcaster.broadcast("message", str(number))
            for client in clients:
                await client.end()
    first, *others = records_of(caplog, logging.WARNING)
    assert "pruned 2 SSE clients that had no chance to read" in first
    assert "(buffer_size=2, max_buffer_bytes=None)" in first
    assert "no turn" in first
    assert others == [first]


async def test_pruning_a_reader_that_is_busy_does_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fastware_sse")
    broadcaster = permissive(2)
    stuck = await stuck_client(broadcaster)
    client = await connect(broadcaster)
    for number in range(5):
        broadcaster.broadcast("message", str(number))
        await client.has(number + 1)
    assert broadcaster.client_count == 1
    assert caplog.records == []
    await stuck.aclose()
    await client.leave()


# ---- row 12: order ----


async def test_every_client_sees_the_order_of_the_broadcasts() -> None:
    broadcaster = permissive()
    clients = [await connect(broadcaster) for _ in range(5)]
    sent = []
    for number in range(500):
        broadcaster.broadcast("message", str(number))
        sent.append(message(str(number)))
        if number % 7 == 0:
            await asyncio.sleep(0)
    for client in clients:
        assert await client.has(500) == sent
        await client.leave()


# ---- row 13: heartbeats ----


async def test_a_heartbeat_comes_when_no_event_does() -> None:
    broadcaster = permissive(heartbeat_interval=0.02)
    client = await connect(broadcaster)
    begin = time.monotonic()
    assert await client.has(3) == [HEARTBEAT] * 3
    assert time.monotonic() - begin > 0.03
    assert HEARTBEAT == ": heartbeat\n\n"
    await client.leave()


async def test_an_event_restarts_the_interval() -> None:
    broadcaster = permissive(heartbeat_interval=0.2)
    client = await connect(broadcaster)
    await asyncio.sleep(0.12)
    begin = time.monotonic()
    broadcaster.broadcast("message", "x")
    assert await client.has(2) == [message("x"), HEARTBEAT]
    assert time.monotonic() - begin > 0.19
    await client.leave()


async def test_without_an_interval_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def call_later(*_: Any, **__: Any) -> None:
        raise AssertionError("no heartbeats, no timers")

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", call_later)
    monkeypatch.setattr(loop, "call_at", call_later)
    broadcaster = permissive(heartbeat_interval=None)
    client = await connect(broadcaster)
    queue_client = Client(broadcaster._event_generator(asyncio.Queue()))
    await turns()
    broadcaster.broadcast("message", "x")
    assert await client.has(1) == await queue_client.has(1) == [message("x")]
    await client.leave()
    await queue_client.leave()


# ---- row 14: stream ----


async def test_stream_gives_a_stream_response_of_fastware() -> None:
    response = await permissive().stream(request())
    assert type(response) is StreamResponse
    assert not hasattr(response, "model_dump")
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["Connection"] == "keep-alive"
    assert response.cookies == []


async def test_headers_belong_to_one_response() -> None:
    broadcaster = permissive()
    (await broadcaster.stream(request())).headers["X-Mine"] = "1"
    assert "X-Mine" not in (await broadcaster.stream(request())).headers


async def test_the_generator_is_an_async_generator_of_str() -> None:
    broadcaster = permissive()
    stream = await open_stream(broadcaster, [("a", "1")])
    assert isinstance(stream, AsyncGenerator)
    assert aiter(stream) is stream
    assert await stream.asend(None) == message("1", "a")
    broadcaster.broadcast("b", "2")
    chunk = await anext(stream)
    assert isinstance(chunk, str)
    assert chunk == message("2", "b")
    with pytest.raises(KeyError):
        await stream.athrow(KeyError("thrown in"))
    assert broadcaster.client_count == 0
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_stream_takes_request_and_initial_by_name() -> None:
    response = await permissive().stream(request=request(), initial=[("a", "1")])
    assert await anext(response.generator) == message("1", "a")
    await response.generator.aclose()


# ---- row 15: registration ----


async def test_the_client_is_registered_at_the_first_step_before_the_initial_events() -> None:
    broadcaster = permissive()
    stream = await open_stream(broadcaster, [("hello", "1")])
    broadcaster.broadcast("message", "too early")
    assert await anext(stream) == message("1", "hello")
    assert broadcaster.client_count == 1
    broadcaster.broadcast("message", "in time")
    assert await anext(stream) == message("in time")
    await stream.aclose()


async def test_a_response_that_is_never_iterated_leaks_nothing() -> None:
    broadcaster = permissive()
    for _ in range(3):
        response = await broadcaster.stream(request(), [("hello", "1")])
        assert broadcaster.client_count == 0
        await response.generator.aclose()
        assert broadcaster.client_count == 0
    await broadcaster.stream(request())
    gc.collect()
    broadcaster.broadcast("message", "x")
    counts = broadcaster.stats()
    assert (counts["connected"], counts["log_events"]) == (0, 0)


# ---- row 16: initial ----


async def test_initial_events_come_first_to_this_client_alone_and_unchecked() -> None:
    broadcaster = Broadcaster()
    broadcaster.register_event("message")
    other = await connect(broadcaster)
    stream = await open_stream(broadcaster, [("never registered", {"a": 1}), ("message", "2")])
    assert await anext(stream) == message('{"a":1}', "never registered")
    broadcaster.broadcast("message", "meanwhile")
    assert await anext(stream) == message("2")
    assert await anext(stream) == message("meanwhile")
    assert await other.has(1) == [message("meanwhile")]
    await stream.aclose()
    await other.leave()


@pytest.mark.parametrize("empty", [None, [], ()])
async def test_initial_may_be_empty(empty: Any) -> None:
    broadcaster = permissive()
    client = await connect(broadcaster, empty)
    broadcaster.broadcast("message", "x")
    assert await client.has(1) == [message("x")]
    await client.leave()


# ---- row 17: disconnect ----


async def test_aclose_unregisters_once() -> None:
    broadcaster = permissive()
    other = await connect(broadcaster)
    stream = await stuck_client(broadcaster)
    for _ in range(2):
        await stream.aclose()
        assert broadcaster.client_count == 1
    await other.leave()


async def test_a_cancelled_step_ends_the_stream() -> None:
    broadcaster = permissive()
    other = await connect(broadcaster)
    stream = await open_stream(broadcaster)
    step = asyncio.ensure_future(anext(stream))
    await turns()
    assert broadcaster.client_count == 2
    step.cancel()
    with pytest.raises(StopAsyncIteration):
        await step
    assert broadcaster.client_count == 1
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await other.leave()


async def test_a_cancelled_driving_loop_ends_normally() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    client.task.cancel()
    await client.task
    assert broadcaster.client_count == 0


async def test_a_stream_that_is_dropped_unregisters() -> None:
    broadcaster = permissive()
    stream = await stuck_client(broadcaster)
    assert broadcaster.client_count == 1
    del stream
    gc.collect()
    await turns()  # the loop closes a dropped generator
    assert broadcaster.client_count == 0


# ---- row 18: sse_route ----


async def test_sse_route_gives_an_async_handler_for_a_route() -> None:
    broadcaster = permissive()
    handler = sse_route(broadcaster)
    assert inspect.iscoroutinefunction(handler)
    Router().add_route("GET", "/events", handler)
    response = await handler(request())
    assert type(response) is StreamResponse
    client = Client(response.generator)
    await turns()
    broadcaster.broadcast("message", "x")
    assert await client.has(1) == [message("x")]
    await client.leave()


# ---- row 19: the documented private names ----


def test_settings_can_be_read() -> None:
    broadcaster = Broadcaster(9, strict=False, heartbeat_interval=30)
    broadcaster.register_event("a")
    assert broadcaster._buffer_size == 9
    assert broadcaster._strict is False
    assert broadcaster._heartbeat_interval == 30
    assert broadcaster._event_types == {"a"}
    assert isinstance(broadcaster._event_types, set)
    default = Broadcaster()
    assert (default._buffer_size, default._strict, default._heartbeat_interval) == (256, True, None)


def test_clients_is_a_real_list_of_foreign_queues() -> None:
    broadcaster = permissive()
    assert type(broadcaster._clients) is list
    first, second = asyncio.Queue(), asyncio.Queue()
    broadcaster._clients.append(first)
    broadcaster._clients.append(second)
    assert first in broadcaster._clients
    assert len(broadcaster._clients) == 2
    broadcaster.broadcast("message", "x")
    assert first.get_nowait() == second.get_nowait() == message("x"), "at the call"
    broadcaster._clients.remove(first)
    broadcaster.broadcast("message", "y")
    assert first.empty()
    assert second.get_nowait() == message("y")


def test_a_full_foreign_queue_is_pruned_and_the_others_are_not() -> None:
    broadcaster = permissive()
    small, large = asyncio.Queue(1), asyncio.Queue(2)
    broadcaster._clients.extend([small, large])
    broadcaster.broadcast("message", "1")
    broadcaster.broadcast("message", "2")
    assert broadcaster._clients == [large]
    assert broadcaster.client_count == 1
    assert (small.qsize(), large.qsize()) == (1, 2)


def test_foreign_queues_are_told_apart_by_identity() -> None:
    class Queue(asyncio.Queue):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None

    broadcaster = permissive()
    first, second = Queue(), Queue(1)
    broadcaster._clients.extend([first, second])
    broadcaster.broadcast("message", "1")
    broadcaster.broadcast("message", "2")
    assert len(broadcaster._clients) == 1
    assert broadcaster._clients[0] is first


def test_a_foreign_queue_may_change_the_list_while_it_receives() -> None:
    broadcaster = permissive()

    class Queue(asyncio.Queue):
        def put_nowait(self, item: str) -> None:
            broadcaster._clients.clear()
            super().put_nowait(item)

    queues = [Queue(), Queue()]
    broadcaster._clients.extend(queues)
    broadcaster.broadcast("message", "x")
    assert [queue.qsize() for queue in queues] == [1, 1], "a snapshot is walked"
    assert broadcaster._clients == []


async def test_a_foreign_queue_that_raises_costs_the_others_nothing() -> None:
    class Broken:
        def put_nowait(self, item: str) -> None:
            raise KeyError("broken")

    broadcaster = permissive()
    client, queue = await connect(broadcaster), asyncio.Queue()
    broadcaster._clients.extend([Broken(), queue])
    with pytest.raises(KeyError, match="broken"):
        broadcaster.broadcast("message", "x")
    assert queue.get_nowait() == message("x")
    assert await client.has(1) == [message("x")]
    await client.leave()


async def test_event_generator_serves_a_queue_of_the_callers_own() -> None:
    broadcaster = permissive()
    queue: asyncio.Queue[str] = asyncio.Queue()
    stream = broadcaster._event_generator(queue, [("hello", "1")])
    assert queue not in broadcaster._clients
    assert await anext(stream) == message("1", "hello")
    assert queue in broadcaster._clients
    assert broadcaster.client_count == 1
    broadcaster.broadcast("message", "2")
    queue.put_nowait("anything the caller likes")
    assert [await anext(stream), await anext(stream)] == [message("2"), "anything the caller likes"]
    await stream.aclose()
    assert broadcaster._clients == []


async def test_event_generator_is_woken_by_a_broadcast() -> None:
    broadcaster = permissive()
    client = Client(broadcaster._event_generator(asyncio.Queue()))
    await turns()
    broadcaster.broadcast("message", "x")
    assert await client.has(1) == [message("x")]
    await client.leave()
    assert broadcaster._clients == []


async def test_event_generator_sends_heartbeats() -> None:
    client = Client(permissive(heartbeat_interval=0.02)._event_generator(asyncio.Queue()))
    assert await client.has(2) == [HEARTBEAT] * 2
    await client.leave()


async def test_event_generator_loses_no_item_that_comes_with_a_heartbeat() -> None:
    broadcaster = permissive(heartbeat_interval=0.001)
    client = Client(broadcaster._event_generator(asyncio.Queue()))
    for number in range(100):
        await asyncio.sleep(0.001)
        broadcaster.broadcast("message", str(number))
    while len(events := [chunk for chunk in client.chunks if chunk != HEARTBEAT]) < 100:
        await client.has(len(client.chunks) + 1)
    assert events == [message(str(number)) for number in range(100)]
    await client.leave()


async def test_event_generator_ends_when_its_queue_was_pruned_and_is_drained() -> None:
    broadcaster = permissive()
    queue: asyncio.Queue[str] = asyncio.Queue(2)
    stream = broadcaster._event_generator(queue, [("hello", "")])
    await anext(stream)
    for number in range(3):
        broadcaster.broadcast("message", str(number))
    assert broadcaster._clients == []
    assert [chunk async for chunk in stream] == [message("0"), message("1")]


async def test_event_generator_that_waits_ends_at_the_heartbeat_after_its_queue_left() -> None:
    broadcaster = permissive(heartbeat_interval=0.05)
    queue: asyncio.Queue[str] = asyncio.Queue()
    client = Client(broadcaster._event_generator(queue))
    await turns()
    broadcaster._clients.remove(queue)
    assert set(await client.end()) <= {HEARTBEAT}
    assert len(client.chunks) <= 1


async def test_event_generator_ends_when_it_is_cancelled() -> None:
    broadcaster = permissive()
    stream = broadcaster._event_generator(asyncio.Queue())
    step = asyncio.ensure_future(anext(stream))
    await turns()
    step.cancel()
    with pytest.raises(StopAsyncIteration):
        await step
    assert broadcaster._clients == []


# ---- row 20, the complete example: test_install.py ----


# ---- row 21: subclassing ----


class WithoutSuper(Broadcaster):
    def __init__(self, name: str, *more: int, **options: int) -> None:
        self.name = name


async def test_a_subclass_may_forget_super_init() -> None:
    broadcaster = WithoutSuper("x", 1, 2, colour=3)
    assert broadcaster.name == "x"
    assert (broadcaster._buffer_size, broadcaster._strict, broadcaster._heartbeat_interval) == (256, True, None)
    with pytest.raises(ValueError, match="unregistered"):
        broadcaster.broadcast("message", "x")
    broadcaster.register_event("message")
    await stuck_client(broadcaster)
    for number in range(256):
        broadcaster.broadcast("message", str(number))
    assert broadcaster.client_count == 1
    broadcaster.broadcast("message", "one too many")
    assert broadcaster.client_count == 0


async def test_a_subclass_may_have_an_init_of_its_own() -> None:
    class Sub(Broadcaster):
        def __init__(self, name: str, size: int) -> None:
            super().__init__(size, strict=False)
            self.name = name

    broadcaster = Sub("x", size=2)
    assert (broadcaster.name, broadcaster._buffer_size, broadcaster._strict) == ("x", 2, False)
    await stuck_client(broadcaster)
    for number in range(3):
        broadcaster.broadcast("message", str(number))
    assert broadcaster.client_count == 0


def formats(event: str, data: Any) -> str:
    return f"data: {event}={data!r}\r\n\r\n"


async def sends_what_it_formats(broadcaster: Broadcaster) -> None:
    stream = await open_stream(broadcaster, [("first", 1)])
    assert await anext(stream) == formats("first", 1)
    broadcaster.broadcast("second", (2,))
    queue: asyncio.Queue[str] = asyncio.Queue()
    broadcaster._clients.append(queue)
    broadcaster.broadcast("third", None)
    assert await anext(stream) == formats("second", (2,))
    assert await anext(stream) == queue.get_nowait() == formats("third", None)
    await stream.aclose()
    own = broadcaster._event_generator(queue, [("fourth", 4)])
    assert await anext(own) == formats("fourth", 4)
    await own.aclose()


async def test_an_overridden_format_is_what_is_sent() -> None:
    class Sub(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            return formats(event, data)

    await sends_what_it_formats(Sub(strict=False))


async def test_a_format_set_on_the_instance_is_what_is_sent() -> None:
    broadcaster = permissive()
    broadcaster._format_sse = formats
    await sends_what_it_formats(broadcaster)


async def test_a_format_set_on_the_class_later_is_what_is_sent() -> None:
    class Sub(Broadcaster):
        pass

    broadcaster = Sub(strict=False)
    broadcaster.broadcast("message", "x")
    Sub._format_sse = staticmethod(formats)
    await sends_what_it_formats(broadcaster)


async def test_an_overridden_format_that_fails_sends_nothing() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    for broken, error in [
        (lambda event, data: 1 / 0, ZeroDivisionError),
        (lambda event, data: b"bytes", TypeError),
        (lambda event, data: None, TypeError),
        (lambda event, data: "\ud800", UnicodeEncodeError),
    ]:
        broadcaster._format_sse = broken
        with pytest.raises(error):
            broadcaster.broadcast("message", "x")
        with pytest.raises(error):
            await broadcaster.stream(request(), [("message", "x")])
    del broadcaster._format_sse
    broadcaster.close()
    assert await client.end() == []


async def test_an_overridden_event_generator_is_what_stream_uses() -> None:
    class Sub(Broadcaster):
        async def _event_generator(self, queue: asyncio.Queue[str], initial: Any = None) -> AsyncGenerator[str, None]:
            yield f"limit {queue.maxsize}, initial {initial}"
            async for chunk in super()._event_generator(queue, initial):
                yield chunk.upper()

    broadcaster = Sub(5, strict=False)
    client = await connect(broadcaster, [("a", "b")])
    assert client.chunks == ["limit 5, initial [('a', 'b')]", "EVENT: A\nDATA: B\n\n"]
    broadcaster.broadcast("c", "d")
    assert (await client.has(3))[2] == "EVENT: C\nDATA: D\n\n"
    await client.leave()
    assert broadcaster.client_count == 0


async def test_an_overridden_event_generator_need_not_know_initial() -> None:
    class Sub(Broadcaster):
        async def _event_generator(self, queue: asyncio.Queue[str]) -> AsyncGenerator[str, None]:
            self._clients.append(queue)
            while True:
                yield await queue.get()

    broadcaster = Sub(strict=False)
    client = await connect(broadcaster)
    broadcaster.broadcast("a", "b")
    assert await client.has(1) == [message("b", "a")]
    client.task.cancel()


async def test_an_event_generator_set_on_the_instance_is_what_stream_uses() -> None:
    async def mine(queue: asyncio.Queue[str]) -> AsyncGenerator[str, None]:
        yield "mine"

    broadcaster = permissive()
    broadcaster._event_generator = mine
    assert [chunk async for chunk in await open_stream(broadcaster)] == ["mine"]


async def test_sse_route_calls_an_overridden_stream_with_the_request_alone() -> None:
    calls = []

    class Sub(Broadcaster):
        async def stream(self, *arguments: Any, **keywords: Any) -> StreamResponse:
            calls.append((arguments, keywords))
            return await super().stream(*arguments, [("hello", "1")], **keywords)

    one: Request = request()
    response = await sse_route(Sub(strict=False))(one)
    assert calls == [((one,), {})]
    assert await anext(response.generator) == message("1", "hello")
    await response.generator.aclose()


async def test_sse_route_passes_on_whatever_an_overridden_stream_returns() -> None:
    class Sub(Broadcaster):
        async def stream(self, request: Request, initial: Any = None) -> Any:
            return {"any": "thing"}

    assert await sse_route(Sub())(request()) == {"any": "thing"}


async def test_row_13_the_interval_may_be_any_number() -> None:
    broadcaster = permissive(heartbeat_interval=decimal.Decimal("0.01"))
    for generator in (await open_stream(broadcaster), broadcaster._event_generator(asyncio.Queue())):
        assert await anext(generator) == ": heartbeat\n\n"
        await generator.aclose()


async def test_retry_may_be_any_number() -> None:
    stream = await open_stream(permissive(retry=(decimal.Decimal(1), 1)))
    assert await anext(stream) == "retry: 1000\n\n"
    await stream.aclose()
