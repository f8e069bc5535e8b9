"""Where ours differs from fastware.sse on purpose: each section is a row of the list in the README."""

import asyncio
import dataclasses
import enum
import threading
from typing import Any

import msgspec
import pytest
from decoder import Decoder, decode
from support import HEARTBEAT, Client, connect, message, open_stream, permissive, request, stuck_client, turns

from fastware_sse import Broadcaster, sse_route

# ---- a pruned client's stream ends ----


async def test_a_pruned_client_gets_what_was_buffered_and_then_its_stream_ends() -> None:
    broadcaster = permissive(3)
    stream = await stuck_client(broadcaster)
    for number in range(10):
        broadcaster.broadcast("message", str(number))
    assert [chunk async for chunk in stream] == [message("0"), message("1"), message("2")]


async def test_a_pruned_client_gets_no_heartbeats() -> None:
    broadcaster = permissive(1, heartbeat_interval=0.01)
    client = await connect(broadcaster)
    for number in range(2):
        broadcaster.broadcast("message", str(number))
    assert await client.end() == [message("0")]


async def test_a_client_may_be_pruned_in_the_middle_of_its_buffer() -> None:
    broadcaster = permissive(3)
    stream = await stuck_client(broadcaster)
    for number in range(3):
        broadcaster.broadcast("message", str(number))
    assert await anext(stream) == message("0")
    for number in range(3, 5):
        broadcaster.broadcast("message", str(number))
    assert [chunk async for chunk in stream] == [message("1"), message("2"), message("3")]


# ---- lines end at CRLF, CR and LF, and at nothing else ----


def test_a_lone_cr_starts_no_field_of_its_own() -> None:
    wire = permissive()._format_sse("m", "a\rid: 1\r\nevent: evil\n\rdata: x")
    assert wire == "event: m\ndata: a\ndata: id: 1\ndata: event: evil\ndata: \ndata: data: x\n\n"
    assert [(event.type, event.last_event_id) for event in decode(wire.encode())] == [("m", "")]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\v", "\f", "\x1c", "\x1d", "\x1e"])
def test_what_only_python_takes_for_a_line_end_stays(character: str) -> None:
    assert permissive()._format_sse("m", f"a{character}b") == f"event: m\ndata: a{character}b\n\n"


# ---- event names are checked ----


@pytest.mark.parametrize("bad", ["m\n", "m\r", "m\0", "\n", "m\ndata: x\n\nevent: evil"])
async def test_an_event_name_of_more_than_one_line_is_refused_everywhere(bad: str) -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    with pytest.raises(ValueError, match="^name must not contain CR, LF or NUL"):
        broadcaster.register_event(bad)
    with pytest.raises(ValueError, match="^event must not contain CR, LF or NUL"):
        broadcaster.broadcast(bad, "x")
    with pytest.raises(ValueError, match="^event must not contain CR, LF or NUL"):
        await open_stream(broadcaster, [(bad, "x")])
    with pytest.raises(ValueError, match="^event must not contain CR, LF or NUL"):
        broadcaster._format_sse(bad, "x")
    broadcaster.close()
    assert await client.end() == []


async def test_an_overridden_format_does_not_lift_the_check_of_the_name() -> None:
    class Careless(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            return f"event: {event}\ndata: {data}\n\n"

    broadcaster = Careless(strict=False)
    with pytest.raises(ValueError, match="^event must not contain"):
        broadcaster.broadcast("m\ndata: x", "y")
    with pytest.raises(ValueError, match="^event must not contain"):
        await open_stream(broadcaster, [("m\ndata: x", "y")])


# ---- a lone surrogate is the sender's error ----


@pytest.mark.parametrize(("event", "data"), [("m", "\ud800"), ("m\udfff", "x"), ("m", {"key": "\ud800"})])
async def test_a_lone_surrogate_raises_in_broadcast_and_is_sent_to_nobody(event: str, data: Any) -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    queue: asyncio.Queue[str] = asyncio.Queue()
    broadcaster._clients.append(queue)
    with pytest.raises(UnicodeEncodeError):
        broadcaster.broadcast(event, data)
    broadcaster.broadcast("m", "good")
    assert queue.get_nowait() == message("good", "m")
    assert await client.has(1) == [message("good", "m")]
    await client.leave()


# ---- broadcast from any thread (more of it in test_threads.py) ----


async def test_broadcast_from_another_thread_reaches_a_parked_client() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    thread = threading.Thread(target=broadcaster.broadcast, args=("message", "x"))
    thread.start()
    assert await client.has(1) == [message("x")]
    thread.join()
    await client.leave()


# ---- whatever msgspec encodes is sent ----


class Colour(str, enum.Enum):  # noqa: UP042 - the older spelling is the one that goes wrong in the original
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int


class Size(msgspec.Struct):
    width: float


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([1, "a"], '[1,"a"]'),
        ((1, 2), "[1,2]"),
        (5, "5"),
        (1.5, "1.5"),
        (True, "true"),
        (None, "null"),
        (Point(1), '{"x":1}'),
        (Size(2.0), '{"width":2.0}'),
        (Colour.RED, "red"),
    ],
)
def test_any_value_that_msgspec_encodes_is_sent(data: Any, text: str) -> None:
    assert permissive()._format_sse("m", data) == f"event: m\ndata: {text}\n\n"


@pytest.mark.parametrize("data", [b"x", bytearray(b"x"), memoryview(b"x"), type("B", (bytes,), {})(b"x")])
def test_bytes_are_refused_with_a_clear_text(data: Any) -> None:
    with pytest.raises(TypeError, match=r"^data must be a str .* not \w+; decode it first$"):
        permissive().broadcast("m", data)


@pytest.mark.parametrize("event", [b"m", 1, None, ["m"], object()])
@pytest.mark.parametrize("strict", [True, False])
def test_an_event_name_must_be_a_str(event: Any, strict: bool) -> None:
    with pytest.raises(TypeError, match=f"^event must be a str, not {type(event).__name__}$"):
        Broadcaster(strict=strict).broadcast(event, "x")


# ---- a (str, Enum) name means its value ----


async def test_an_enum_member_goes_on_the_wire_as_its_value() -> None:
    broadcaster = Broadcaster()
    broadcaster.register_event(Colour.RED)
    assert broadcaster.event_types == {"red"}
    assert [type(name) for name in broadcaster.event_types] == [str]
    client = await connect(broadcaster, [(Colour.RED, "1")])
    broadcaster.broadcast(Colour.RED, "2")
    assert await client.has(2) == [message("1", "red"), message("2", "red")]
    await client.leave()


# ---- heartbeat_interval must make sense ----


@pytest.mark.parametrize("interval", [0, 0.0, -1, float("nan"), float("inf"), 10**400])
def test_heartbeat_interval_must_be_finite_and_above_0(interval: float) -> None:
    with pytest.raises(ValueError, match="^heartbeat_interval must be None or a finite number of seconds above 0$"):
        Broadcaster(heartbeat_interval=interval)


# ---- initial is taken when stream() is called ----


async def test_initial_is_copied_by_stream() -> None:
    broadcaster = permissive()
    data = {"a": 1}
    initial = [("m", data)]
    stream = await open_stream(broadcaster, initial)
    data["a"] = 2
    initial.append(("m", "more"))
    assert await anext(stream) == message('{"a":1}', "m")
    broadcaster.close()
    assert [chunk async for chunk in stream] == []


async def test_a_bad_initial_item_raises_in_the_handler() -> None:
    broadcaster = permissive()
    for bad in [("m", b"x"), ("m\n", "x"), ("m", "\ud800"), ("m", object())]:
        with pytest.raises((TypeError, ValueError)):
            await broadcaster.stream(request(), [("good", "x"), bad])
    assert broadcaster.client_count == 0


# ---- headers ----


async def test_nginx_is_told_not_to_buffer() -> None:
    assert (await permissive().stream(request())).headers == {
        "Cache-Control": "no-cache",
        "Connection": "keep-alive",
        "X-Accel-Buffering": "no",
    }


# ---- retry ----


async def retry_of(broadcaster: Broadcaster) -> str:
    """The first chunk of a new stream."""
    stream = await open_stream(broadcaster)
    chunk = await anext(stream)
    await stream.aclose()
    return chunk


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(2, 2000), (0.1, 100), (1.2344, 1234), (2147483, 2147483000), ((3, 3.0), 3000)]
)
async def test_retry_is_sent_in_whole_milliseconds(seconds: Any, milliseconds: int) -> None:
    wire = await retry_of(permissive(retry=seconds))
    assert wire == f"retry: {milliseconds}\n\n"


async def test_retry_comes_before_the_initial_events_and_is_no_event() -> None:
    broadcaster = permissive(retry=2)
    stream = await open_stream(broadcaster, [("hello", "1")])
    decoder = Decoder()
    assert decoder.feed((await anext(stream)).encode()) == []
    assert decoder.retry == 2000
    assert await anext(stream) == message("1", "hello")
    await stream.aclose()


async def test_retry_is_drawn_anew_for_each_connection() -> None:
    broadcaster = permissive(retry=(1, 5.5))
    drawn = [int((await retry_of(broadcaster)).removeprefix("retry: ")) for _ in range(50)]
    assert min(drawn) >= 1000
    assert max(drawn) <= 5500
    assert len(set(drawn)) > 10


async def test_retry_is_off_by_default() -> None:
    broadcaster = permissive()
    assert broadcaster._retry is None
    client = await connect(broadcaster)
    assert client.chunks == []
    await client.leave()


async def test_retry_is_sent_on_a_queue_of_the_callers_own_too() -> None:
    stream = permissive(retry=2)._event_generator(asyncio.Queue())
    assert await anext(stream) == "retry: 2000\n\n"
    await stream.aclose()


# ---- close ----


async def test_close_lets_every_stream_send_what_it_owes_and_end() -> None:
    broadcaster = permissive()
    parked = await connect(broadcaster)
    busy = await stuck_client(broadcaster)
    queue: asyncio.Queue[str] = asyncio.Queue()
    own = broadcaster._event_generator(queue, [("hello", "")])
    await anext(own)
    waiting = Client(broadcaster._event_generator(asyncio.Queue()))
    await turns()
    assert broadcaster.client_count == 4
    for number in range(3):
        broadcaster.broadcast("message", str(number))
    assert broadcaster.close() is None
    assert broadcaster.client_count == 0
    owed = [message("0"), message("1"), message("2")]
    assert await parked.end() == owed
    assert [chunk async for chunk in busy] == owed
    assert [chunk async for chunk in own] == owed
    assert await waiting.end() == owed


async def test_close_is_idempotent() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    for _ in range(3):
        broadcaster.close()
        assert broadcaster.client_count == 0
    assert await client.end() == []
    broadcaster.close()


async def test_streams_that_begin_after_close_end_at_once() -> None:
    broadcaster = permissive(heartbeat_interval=0.01)
    before = await open_stream(broadcaster)
    broadcaster.close()
    assert [chunk async for chunk in before] == []
    assert [chunk async for chunk in await open_stream(broadcaster)] == []
    assert [chunk async for chunk in broadcaster._event_generator(asyncio.Queue())] == []
    assert broadcaster.client_count == 0


async def test_after_close_broadcast_validates_and_reaches_nobody() -> None:
    broadcaster = Broadcaster()
    broadcaster.register_event("m")
    stream = await stuck_client(broadcaster)
    broadcaster.close()
    queue: asyncio.Queue[str] = asyncio.Queue()
    broadcaster._clients.append(queue)
    broadcaster.broadcast("m", "x")
    assert queue.empty()
    assert [chunk async for chunk in stream] == []
    with pytest.raises(ValueError, match="unregistered"):
        broadcaster.broadcast("nope", "x")
    with pytest.raises(TypeError):
        broadcaster.broadcast("m", object())
    assert broadcaster.stats()["events"] == 0


# ---- through sse_route, events that wait together leave together ----


async def route_client(broadcaster: Broadcaster) -> Client:
    client = Client((await sse_route(broadcaster)(request())).generator)
    await turns()
    return client


async def test_a_burst_leaves_sse_route_as_one_chunk_and_stream_as_one_each() -> None:
    broadcaster = permissive()
    burst, single = await route_client(broadcaster), await connect(broadcaster)
    sent = [message(str(number)) for number in range(200)]
    for number in range(200):
        broadcaster.broadcast("message", str(number))
    assert await single.has(200) == sent
    assert await burst.has(1) == ["".join(sent)]
    await burst.leave()
    await single.leave()


@pytest.mark.parametrize("size", [1, 100, 1000, 32768, 65536])
async def test_a_chunk_holds_as_many_events_as_fit_into_64_kib(size: int) -> None:
    broadcaster = permissive(0)
    client = await route_client(broadcaster)
    wire = message("x" * max(1, size - len(message(""))))
    count = 3 * (65536 // len(wire))
    for _ in range(count):
        broadcaster.broadcast("message", "x" * max(1, size - len(message(""))))
    full = wire * (65536 // len(wire))
    assert await client.has(3) == [full] * 3
    assert len(full) <= 65536
    await client.leave()


async def test_more_than_4096_events_do_not_fit_into_one_chunk() -> None:
    """The smallest event has 16 bytes, so this is the same bound."""
    broadcaster = permissive(0)
    client = await route_client(broadcaster)
    for _ in range(5000):
        broadcaster.broadcast("", "")
    smallest = "event: \ndata: \n\n"
    assert await client.has(2) == [smallest * 4096, smallest * 904]
    await client.leave()


async def test_a_larger_event_goes_alone_and_whole() -> None:
    broadcaster = permissive()
    client = await route_client(broadcaster)
    sizes = [1, 2, 70_000, 3, 200_000, 4, 5]
    for size in sizes:
        broadcaster.broadcast("message", "x" * size)
    whole = [message("x" * size) for size in sizes]
    assert await client.has(5) == [whole[0] + whole[1], whole[2], whole[3], whole[4], whole[5] + whole[6]]
    await client.leave()


async def test_the_bound_counts_bytes_and_not_characters() -> None:
    broadcaster = permissive()
    client = await route_client(broadcaster)
    for _ in range(2):
        broadcaster.broadcast("message", "\N{BELL}" * 10_000)
    assert await client.has(2) == [message("\N{BELL}" * 10_000)] * 2
    await client.leave()


async def test_a_pruned_client_of_sse_route_is_owed_chunks_of_the_same_kind() -> None:
    broadcaster = permissive(4)
    client = Client((await sse_route(broadcaster)(request())).generator)
    await turns()
    for size in [1, 70_000, 2, 3, 4]:
        broadcaster.broadcast("message", "x" * size)
    assert await client.end() == [message("x"), message("x" * 70_000), message("xx") + message("xxx")]


async def test_initial_events_and_heartbeats_are_chunks_of_their_own() -> None:
    class Greeting(Broadcaster):
        async def stream(self, request: Any, initial: Any = None) -> Any:
            return await super().stream(request, [("a", "1"), ("b", "2")])

    broadcaster = Greeting(strict=False, heartbeat_interval=0.01)
    client = await route_client(broadcaster)
    assert (await client.has(3))[:3] == [message("1", "a"), message("2", "b"), HEARTBEAT]
    await client.leave()


# ---- HEAD ----


async def test_head_gets_the_headers_and_an_end_and_is_no_client() -> None:
    broadcaster = permissive(retry=1)
    for response in [
        await broadcaster.stream(request("HEAD")),
        await broadcaster.stream(request("HEAD"), [("hello", "1")]),
        await sse_route(broadcaster)(request("HEAD")),
    ]:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert response.headers["X-Accel-Buffering"] == "no"
        client = Client(response.generator)
        await turns(1)
        assert broadcaster.client_count == 0
        assert await client.end() == []


async def test_head_never_reaches_an_overridden_event_generator() -> None:
    class Sub(Broadcaster):
        async def _event_generator(self, queue: Any, initial: Any = None) -> Any:
            yield "a body"

    assert [chunk async for chunk in (await Sub().stream(request("HEAD"))).generator] == []
