"""Ids, history, and clients that come back: nothing is lost without a word, whatever is cut and wherever."""

import asyncio
import json
import os
import random
import re
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import exchange
import pytest
import test_adapters as adapters
from aiohttp import web
from exchange import Exchange, until
from fastware.request import Request
from litestar import Litestar, get
from litestar import Request as LitestarRequest
from litestar.types import ASGIApp
from resuming import ID, OTHER, Id, come, first_id, got, headers_of, hostile_ids, judged, publish, seen_by
from starlette.applications import Starlette
from starlette.routing import Route
from support import Client, connect, joined, message, open_stream, permissive, request, turns
from test_aiohttp import serving
from test_fork import in_child

from fastware_sse import Broadcaster, sse_route
from fastware_sse.asgi import EventStream, Start


def with_history(events: int = 1000, **options: Any) -> Broadcaster:
    return permissive(history=events, **options)


def gap(reason: str, last_id: str | None) -> str:
    echoed = "null" if last_id is None else f'"{last_id}"'
    return f'{{"reason":"{reason}","last_event_id":{echoed}}}'


# ---- ids ----


async def test_without_a_history_the_wire_is_the_documented_one() -> None:
    broadcaster = permissive()
    for last_id in (None, OTHER, "anything"):
        client = await come(broadcaster, last_id)
        publish(broadcaster, 1)
        await turns()
        client.leave()
        await client.end()
        assert client.text == ":\n\n" + message("1")
    stream = await connect(broadcaster)
    publish(broadcaster, 2)
    assert await stream.has(1) == [message("2")]
    await stream.leave()
    assert broadcaster._format_sse("message", "x") == message("x")


async def test_with_a_history_every_event_carries_an_id_of_fixed_width() -> None:
    broadcaster = with_history()
    begin = await first_id(broadcaster)
    client = await connect(broadcaster)
    for number in range(40):
        publish(broadcaster, number)
    chunks = await client.has(41)
    assert chunks[0] == f"id: {begin}\n\n"
    for number, chunk in enumerate(chunks[1:]):
        assert chunk == f"event: message\nid: {begin.at(number + 1)}\ndata: {number}\n\n"
    for wire_id in (event.last_event_id for event in got("".join(chunks).encode()).events):
        assert ID.fullmatch(wire_id) and len(wire_id) == 27
    await client.leave()


async def test_an_id_stands_in_front_of_what_an_own_format_makes() -> None:
    class Mine(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            return f"data: <{data}>\n\n" if data else ""

    broadcaster = Mine(strict=False, history=10)
    begin = await first_id(broadcaster)
    client = await come(broadcaster)
    for data in ("a", "", "b"):
        broadcaster.broadcast("message", data)
    await turns()
    first, second = f"id: {begin.at(1)}\ndata: <a>\n\n", f"id: {begin.at(3)}\ndata: <b>\n\n"
    assert client.text == f"id: {begin}\n\n{first}{second}"
    client.leave()
    await client.end()
    assert (await seen_by(broadcaster, str(begin.at(1)))).texts == ["<b>"]


async def test_queues_of_the_caller_get_the_same_text() -> None:
    broadcaster = with_history()
    queue: asyncio.Queue[str] = asyncio.Queue()
    broadcaster._clients.append(queue)
    client = await connect(broadcaster)
    publish(broadcaster, 1)
    assert await client.has(2) == [client.chunks[0], queue.get_nowait()]
    await client.leave()


async def test_a_generator_on_a_queue_gets_the_same_text() -> None:
    class Mine(Broadcaster):
        async def _event_generator(self, queue: Any, initial: Any = None) -> Any:
            async for chunk in super()._event_generator(queue, initial):
                yield chunk

    broadcaster = Mine(strict=False, history=10)
    client = await connect(broadcaster)
    publish(broadcaster, 1)
    (chunk,) = await client.has(1)
    assert got(chunk.encode()).positions == [1]
    await client.leave()


async def test_each_broadcaster_has_an_epoch_of_its_own() -> None:
    epochs = {(await first_id(with_history())).epoch for _ in range(50)}
    assert len(epochs) == 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_an_id_of_the_parent_never_seems_to_fit_in_the_child() -> None:
    broadcaster = with_history()
    publish(broadcaster, 1, 2, 3)
    mine = (await first_id(broadcaster)).at(2)

    def child() -> None:
        async def check() -> None:
            publish(broadcaster, 1, 2, 3)
            back = await seen_by(broadcaster, str(mine))
            assert back.gaps == [gap("epoch", str(mine))]
            assert back.texts == ["1", "2", "3"]
            assert Id.parse(back.last_id).epoch != mine.epoch

        asyncio.run(check())

    in_child(child)
    in_child(child)  # each has its own
    assert (await seen_by(broadcaster, str(mine))).texts == ["3"]


# ---- how an id comes ----


async def _begin_of_generator(stream: Any) -> bytes:
    client = Client(stream)
    await turns(8)
    await client.leave()
    return "".join(client.chunks).encode()


def _fastware_request(headers: list[tuple[bytes, bytes]], query: bytes) -> Request:
    asked = request()
    asked.scope["headers"], asked.scope["query_string"] = headers, query
    return asked


async def _stream(broadcaster: Broadcaster, headers: list[tuple[bytes, bytes]], query: bytes) -> bytes:
    response = await broadcaster.stream(_fastware_request(headers, query))
    return await _begin_of_generator(response.generator)


async def _sse_route(broadcaster: Broadcaster, headers: list[tuple[bytes, bytes]], query: bytes) -> bytes:
    response = await sse_route(broadcaster)(_fastware_request(headers, query))
    return await _begin_of_generator(response.generator)


async def _of_asgi(
    app: Any, headers: list[tuple[bytes, bytes]], query: bytes, kind: type[Exchange] = exchange.Exchange
) -> bytes:
    client = kind(app, **adapters.GET | {"query_string": query, "headers": headers, "root_path": "", "raw_path": b""})
    await until(lambda: len(client.messages) > 1 or client.task.done())
    await turns(8)
    client.leave()
    await client.end()
    assert client.status == 200
    return client.text.encode()


async def _event_stream(broadcaster: Broadcaster, headers: list[tuple[bytes, bytes]], query: bytes) -> bytes:
    return await _of_asgi(EventStream(broadcaster), headers, query)


async def _starlette(broadcaster: Broadcaster, headers: list[tuple[bytes, bytes]], query: bytes) -> bytes:
    return await _of_asgi(Starlette(routes=[Route("/events", sse_route(broadcaster))]), headers, query)


async def _litestar(broadcaster: Broadcaster, headers: list[tuple[bytes, bytes]], query: bytes) -> bytes:
    @get("/events")
    async def events(request: LitestarRequest) -> ASGIApp:
        return await broadcaster.stream(request)

    return await _of_asgi(Litestar([events]), headers, query)


def _adapted(framework: str) -> Callable[[Broadcaster, list[tuple[bytes, bytes]], bytes], Awaitable[bytes]]:
    async def begin(broadcaster: Broadcaster, headers: list[tuple[bytes, bytes]], query: bytes) -> bytes:
        adapters.served.broadcaster, adapters.served.initial = broadcaster, None
        return await _of_asgi(adapters.APPS[framework], headers, query, adapters.Exchange)

    return begin


async def _aiohttp(broadcaster: Broadcaster, headers: list[tuple[bytes, bytes]], query: bytes) -> bytes:
    runner_broadcaster = broadcaster

    async def handler(request: web.Request) -> web.StreamResponse:
        return await runner_broadcaster.stream(request)

    async with serving(permissive(), handler) as server:
        client = await server.connect()
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        target = b"/?" + query if query else b"/"
        await client.send(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n")
        await client.read(b"\n\n\r\n")
        await until(lambda: broadcaster.stats()["lag"] == 0)
        client.fin()
        await until(lambda: broadcaster.client_count == 0)
    assert client.received.startswith(b"HTTP/1.1 200 ")
    _, _, body = client.received.partition(b"\r\n\r\n")
    return b"".join(body.split(b"\r\n")[1::2])


WAYS = {
    "stream": _stream,
    "sse_route": _sse_route,
    "EventStream": _event_stream,
    "starlette": _starlette,
    "litestar": _litestar,
    "quart": _adapted("quart"),
    "django": _adapted("django"),
    "aiohttp": _aiohttp,
}

HEADER, QUERY = b"last-event-id", b"last_event_id="

# (headers, query, what the stream begins with: the position of the id that counted, or a reason, or None for none);
# <1> and <2> stand for ids of this Broadcaster, <%> for one as a URL may have it.
ASKED: dict[str, tuple[list[tuple[bytes, bytes]], bytes, int | str | None]] = {
    "nothing": ([], b"", None),
    "header": ([(HEADER, b"<1>")], b"", 1),
    "query": ([], QUERY + b"<1>", 1),
    "both": ([(HEADER, b"<1>")], QUERY + b"<2>", 1),
    "another query": ([], b"a=b&my_" + QUERY + b"<1>&c", None),
    "query among others": ([], b"a=b&" + QUERY + b"<1>&c=<2>", 1),
    "query, encoded": ([], QUERY + b"<%>", 1),
    "bad header, good query": ([(HEADER, b"nonsense")], QUERY + b"<1>", "invalid"),
    "empty header, good query": ([(HEADER, b"")], QUERY + b"<1>", 1),
    "empty header": ([(HEADER, b"")], b"", None),
    "empty query": ([], QUERY, None),
    "header twice": ([(HEADER, b"<1>"), (HEADER, b"<2>")], b"", "invalid"),
    "header twice, the same": ([(HEADER, b"<1>"), (HEADER, b"<1>")], b"", "invalid"),
    "query twice": ([], QUERY + b"<1>&" + QUERY + b"<2>", "invalid"),
    "name in capitals": ([(HEADER.upper(), b"<1>")], b"", 1),
    "other headers": ([(b"x-last-event-id", b"<1>"), (b"accept", b"text/event-stream")], b"", None),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("way", WAYS)
async def test_an_id_counts_whichever_way_the_stream_is_served(way: str, asked: str) -> None:
    broadcaster = with_history()
    publish(broadcaster, 1, 2, 3)
    begin = await first_id(broadcaster)
    one, two = (str(begin.at(position)).encode() for position in (1, 2))
    ids = {b"<1>": one, b"<2>": two, b"<%>": b"".join(b"%%%02x" % byte for byte in one)}

    def filled(text: bytes) -> bytes:
        for placeholder, last_id in ids.items():
            text = text.replace(placeholder, last_id)
        return text

    headers, query, expected = ASKED[asked]
    seen = got(await WAYS[way](broadcaster, [(name, filled(value)) for name, value in headers], filled(query)))
    counts = broadcaster.stats()
    assert counts["connected"] == 0
    if expected is None:
        assert (seen.texts, seen.gaps, seen.last_id) == ([], [], str(begin.at(3)))
        assert counts["resumed"] == counts["gaps_invalid"] == 0
    elif isinstance(expected, int):
        assert (seen.texts, seen.gaps) == (["2", "3"], [])
        assert counts["resumed"] == 1
    else:
        assert (seen.texts, seen.gaps) == (["1", "2", "3"], [gap("invalid", None)])
        assert counts["gaps_invalid"] == 1


# ---- a known id: replay, then live ----


@pytest.mark.parametrize("position", range(6))
async def test_a_client_goes_on_behind_the_event_that_it_had(position: int) -> None:
    broadcaster = with_history()
    publish(broadcaster, *range(1, 6))
    begin = await first_id(broadcaster)
    client = await come(broadcaster, str(begin.at(position)))
    publish(broadcaster, 6, 7)
    await turns()
    seen = got(client.text.encode())
    assert client.text.startswith(f"id: {begin.at(position)}\n\n")
    assert seen.texts == [str(number) for number in range(position + 1, 8)]
    assert seen.positions == list(range(position + 1, 8))
    assert seen.gaps == []
    client.leave()
    await client.end()


async def test_replay_goes_in_chunks_of_64_kib_by_sse_route_and_event_by_event_by_stream() -> None:
    broadcaster = with_history()
    begin = await first_id(broadcaster)
    for _ in range(150):
        broadcaster.broadcast("message", "x" * 1000)
    client = await come(broadcaster, str(begin))
    await until(lambda: len(got(client.text.encode()).texts) == 150)
    assert [len(body) <= 65536 for body in client.bodies] == [True] * 3
    client.leave()
    await client.end()
    single = Client((await broadcaster.stream(_fastware_request(headers_of(str(begin)), b""))).generator)
    assert len(await single.has(151)) == 151
    await single.leave()


async def test_clients_that_replay_at_once_get_the_same_objects() -> None:
    broadcaster = with_history()
    begin = await first_id(broadcaster)
    for _ in range(150):
        broadcaster.broadcast("message", "x" * 1000)
    app = EventStream(broadcaster)
    clients = [Exchange(app, headers=headers_of(str(begin)), query_string=b"") for _ in range(3)]
    await until(lambda: all(len(client.bodies) == 3 for client in clients))
    for number in (1, 2):
        assert len({id(client.bodies[number]) for client in clients}) == 1
    for client in clients:
        client.leave()
        await client.end()


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads take turns after microseconds, so that one comes in between at any place."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.parametrize("buffer_size", [4, 256, 0])
async def test_no_gap_and_no_duplicate_at_the_seam_however_busy_the_publisher(
    buffer_size: int, eager_threads: None
) -> None:
    """10,000 streams that begin while a thread publishes as fast as it can: new ones, and ones that come back."""
    broadcaster = with_history(400, buffer_size=buffer_size)
    begin = await first_id(broadcaster)
    over = threading.Event()
    head = 0

    def run() -> None:
        nonlocal head
        while not over.is_set():
            publish(broadcaster, head + 1)
            head += 1

    dice = random.Random(buffer_size)
    ways = dict.fromkeys(["live", "resumed", "evicted", "future"], 0)
    loop = asyncio.get_running_loop()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        for seam in range(3_400):
            last = None if seam % 3 == 0 else begin.at(max(0, head - dice.choice([0, 1, 5, 100, 350, 1000])))
            subscription = broadcaster._subscribe()
            subscription.coalesce = dice.random() < 0.5
            subscription.join(loop, None if last is None else str(last).encode())
            ways[subscription.start or ""] += 1
            start = Id.parse(subscription.id or "").position
            assert subscription.start != "resumed" or start == last.position
            chunks = []
            for _ in range(dice.choice([1, 2, 10])):
                chunks.append(next(subscription, ""))
                if dice.random() < 0.1:
                    await asyncio.sleep(0)
            subscription.close()
            text = "".join(chunks)
            numbers = [int(number) for number in re.findall(r"data: (\d+)\n", text)]
            assert numbers == list(range(start + 1, start + 1 + len(numbers)))
            for number in numbers[:1] + numbers[-1:]:
                assert f"event: message\nid: {begin.at(number)}\ndata: {number}\n\n" in text
    finally:
        over.set()
        thread.join()
    assert min(ways["live"], ways["resumed"], ways["evicted"]) > 100, ways


async def test_a_client_that_catches_up_is_not_pruned_and_then_is_like_any_other() -> None:
    broadcaster = with_history(1000, buffer_size=4)
    begin = await first_id(broadcaster)
    publish(broadcaster, *range(1, 501))
    subscription = broadcaster._subscribe()
    subscription.join(asyncio.get_running_loop(), str(begin).encode())
    for number in range(501, 601):  # 25 times what may wait for a live one
        publish(broadcaster, number)
    assert broadcaster.stats()["pruned"] == 0
    chunks = list(subscription)
    assert [got(chunk.encode()).texts for chunk in chunks] == [[str(number)] for number in range(1, 601)]
    publish(broadcaster, 601, 602, 603, 604)
    assert broadcaster.stats()["pruned"] == 0
    publish(broadcaster, 605)  # it has reached the live ones
    counts = broadcaster.stats()
    assert (counts["pruned"], counts["pruned_by_events"], counts["connected"]) == (1, 1, 0)
    assert got("".join(subscription).encode()).texts == ["601", "602", "603", "604"]
    assert (subscription.park(), subscription.fate) == (None, "pruned")
    subscription.close()


async def test_a_client_that_the_history_passes_ends_and_is_told_the_next_time() -> None:
    broadcaster = with_history(10)
    begin = await first_id(broadcaster)
    publish(broadcaster, *range(1, 31))
    slow = broadcaster._subscribe()
    slow.join(asyncio.get_running_loop(), str(begin.at(20)).encode())
    assert (slow.start, next(slow, None)) == ("resumed", f"event: message\nid: {begin.at(21)}\ndata: 21\n\n")
    publish(broadcaster, *range(31, 41))
    assert broadcaster.stats()["connected"] == 1
    assert next(slow, None) is None
    assert (slow.park(), slow.fate) == (None, "history")
    counts = broadcaster.stats()
    assert (counts["connected"], counts["pruned"], counts["pruned_by_history"]) == (0, 1, 1)
    last = slow.id
    slow.close()
    back = await seen_by(broadcaster, last)
    assert back.gaps == [gap("evicted", last)]
    assert back.texts == [str(number) for number in range(31, 41)]


async def test_a_stream_on_a_server_ends_when_the_history_passes_it() -> None:
    broadcaster = with_history(10)
    begin = await first_id(broadcaster)
    publish(broadcaster, *range(1, 11))

    async def initial(start: Start) -> list[Any]:
        await asyncio.sleep(0)
        publish(broadcaster, *range(11, 21))  # while it prepares, all that it asked for goes
        return [("hello", "")]

    client = await come(broadcaster, str(begin.at(5)), initial=initial)
    await client.end()
    assert client.complete
    assert client.text == message("", "hello") + f"id: {begin.at(5)}\n\n"
    assert (await seen_by(broadcaster, str(begin.at(5)))).gaps == [gap("evicted", str(begin.at(5)))]


async def test_what_a_slow_live_client_keeps_can_be_resumed_from_too() -> None:
    broadcaster = with_history(3, buffer_size=100)
    begin = await first_id(broadcaster)
    slow = broadcaster._subscribe()
    slow.join(asyncio.get_running_loop())
    publish(broadcaster, *range(1, 11))
    assert broadcaster.stats() | {"log_events": 10, "history_events": 3} == broadcaster.stats()
    assert (await seen_by(broadcaster, str(begin.at(2)))).texts == [str(number) for number in range(3, 11)]
    slow.close()
    assert (await seen_by(broadcaster, str(begin.at(2)))).gaps == [gap("evicted", str(begin.at(2)))]


async def test_a_history_is_bounded_by_events_and_by_bytes() -> None:
    broadcaster = with_history(100, history_bytes=10_000)
    begin = await first_id(broadcaster)
    publish(broadcaster, *range(1, 1001))
    counts = broadcaster.stats()
    assert counts["history_events"] == counts["log_events"] == 100
    assert counts["history_bytes"] == counts["log_bytes"] < 10_000
    for _ in range(50):
        broadcaster.broadcast("message", "x" * 1_000)
    counts = broadcaster.stats()
    size = len(f"event: message\nid: {begin}\ndata: \n\n") + 1_000
    assert counts["history_events"] == counts["log_events"] == 10_000 // size
    assert counts["history_bytes"] == counts["log_bytes"] == 10_000 // size * size
    broadcaster.broadcast("message", "x" * 10_000)  # more than all of it
    assert broadcaster.stats()["history_events"] == broadcaster.stats()["history_bytes"] == 0
    assert (await seen_by(broadcaster, str(begin.at(1050)))).gaps == [gap("evicted", str(begin.at(1050)))]
    assert (await seen_by(broadcaster, str(begin.at(1051)))).gaps == []


async def test_close_ends_a_client_that_catches_up_behind_all_that_was_published() -> None:
    broadcaster = with_history()
    begin = await first_id(broadcaster)
    publish(broadcaster, *range(1, 501))
    subscription = broadcaster._subscribe()
    subscription.join(asyncio.get_running_loop(), str(begin).encode())
    broadcaster.close()
    assert len(list(subscription)) == 500
    assert (subscription.park(), subscription.fate) == (None, "closed")
    subscription.close()


@pytest.mark.parametrize("last_id", [None, "%", OTHER, "nonsense"])
async def test_a_closed_broadcaster_leaves_a_client_the_id_that_it_has(last_id: str | None) -> None:
    broadcaster = with_history()
    begin = await first_id(broadcaster)
    publish(broadcaster, 1, 2)
    broadcaster.close()
    client = await come(broadcaster, str(begin.at(1)) if last_id == "%" else last_id)
    await client.end()
    assert client.text == ":\n\n"


# ---- gaps ----

GAPS: dict[str, tuple[Callable[[Id], str], str, list[int]]] = {
    "older than all": (lambda begin: str(begin.at(1)), "evicted", [5, 6, 7, 8]),
    "older by one": (lambda begin: str(begin.at(3)), "evicted", [5, 6, 7, 8]),
    "of a newcomer to the empty log": (lambda begin: str(begin.at(0)), "evicted", [5, 6, 7, 8]),
    "of another process": (lambda begin: OTHER, "epoch", [5, 6, 7, 8]),
    "of another process, and wider": (lambda begin: OTHER + "b" * 13, "epoch", [5, 6, 7, 8]),
    "of another process, and narrower": (lambda begin: OTHER[:15], "epoch", [5, 6, 7, 8]),
    "the next": (lambda begin: str(begin.at(9)), "future", [5, 6, 7, 8]),
    "far ahead": (lambda begin: str(begin.at(2**64 - 1)), "future", [5, 6, 7, 8]),
    "this process's, and wider": (lambda begin: f"{begin}aaa", "invalid", [5, 6, 7, 8]),
    "too wide for any": (lambda begin: OTHER + "a" * 14, "invalid", [5, 6, 7, 8]),
    "no id": (lambda begin: "nonsense", "invalid", [5, 6, 7, 8]),
}


@pytest.mark.parametrize("asked", GAPS)
@pytest.mark.parametrize("name", ["gap", "lücke", None])
async def test_what_cannot_be_resumed_is_said_and_all_that_is_left_follows(asked: str, name: str | None) -> None:
    broadcaster = with_history(4, gap_event=name)
    begin = await first_id(broadcaster)
    publish(broadcaster, *range(1, 9))
    make, reason, left = GAPS[asked]
    last_id = make(begin)
    client = await come(broadcaster, last_id)
    publish(broadcaster, 9)
    await turns()
    known = None if reason == "invalid" else last_id
    said = "" if name is None else message(gap(reason, known), name)
    assert client.text.startswith(f"{said}id: {begin.at(4)}\n\n")
    assert got(client.text.encode()).texts == [str(number) for number in [*left, 9]]
    counts = broadcaster.stats()
    assert {key: value for key, value in counts.items() if key.startswith(("gaps", "resumed")) and value} == {
        f"gaps_{reason}": 1
    }
    client.leave()
    await client.end()


async def test_the_oldest_position_that_can_be_resumed_is_the_one_in_front_of_the_oldest_event() -> None:
    broadcaster = with_history(4)
    begin = await first_id(broadcaster)
    publish(broadcaster, *range(1, 9))
    assert (await seen_by(broadcaster, str(begin.at(4)))).gaps == []
    assert (await seen_by(broadcaster, str(begin.at(3)))).gaps == [gap("evicted", str(begin.at(3)))]
    assert (await seen_by(broadcaster, str(begin.at(8)))).gaps == []
    assert (await seen_by(broadcaster, str(begin.at(9)))).gaps == [gap("future", str(begin.at(9)))]


async def test_after_a_gap_the_next_reconnect_has_none() -> None:
    broadcaster = with_history()
    for number in range(3):  # also before there is any event
        first = await seen_by(broadcaster, OTHER)
        assert first.gaps == [gap("epoch", OTHER)]
        second = await seen_by(broadcaster, first.last_id)
        assert (second.gaps, second.texts) == ([], [])
        publish(broadcaster, number)
        assert (await seen_by(broadcaster, second.last_id)).texts == [str(number)]


async def test_hostile_ids_are_never_an_error_and_get_the_right_reason() -> None:
    broadcaster = with_history()
    publish(broadcaster, 1, 2, 3)
    begin = await first_id(broadcaster)
    for last_id in hostile_ids(begin):
        seen = await seen_by(broadcaster, last_id)
        reason = judged(begin, last_id, head=3)
        if reason is None:
            assert seen.gaps == []
        else:
            echoed = None if reason == "invalid" else last_id.decode()
            assert (seen.gaps, seen.texts) == ([gap(reason, echoed)], ["1", "2", "3"]), last_id
        assert seen.last_id == str(begin.at(3))
        assert {event.type for event in seen.events} <= {"gap", "message"}
    assert broadcaster.client_count == 0


# ---- the order at the start, and cuts in it ----


async def test_the_order_at_the_start() -> None:
    broadcaster = with_history(2, retry=2)
    begin = await first_id(broadcaster)
    publish(broadcaster, 1, 2, 3)
    event = "event: message\nid: {}\ndata: {}\n\n"
    starts = {
        None: f"retry: 2000\n\n{message('h', 'hello')}id: {begin.at(3)}\n\n",
        str(begin.at(2)): f"retry: 2000\n\n{message('h', 'hello')}id: {begin.at(2)}\n\n{event.format(begin.at(3), 3)}",
        OTHER: f"retry: 2000\n\n{message(gap('epoch', OTHER), 'gap')}{message('h', 'hello')}id: {begin.at(1)}\n\n"
        + event.format(begin.at(2), 2)
        + event.format(begin.at(3), 3),
    }
    for last_id, text in starts.items():
        client = await come(broadcaster, last_id, initial=[("hello", "h")])
        assert client.text == text
        client.leave()
        await client.end()
    assert (await seen_by(broadcaster, initial=[("hello", "h")])).events[0].last_event_id == ""


class Prices:
    """An application: the last number of each of three names, and a snapshot for those who could not resume."""

    def __init__(self, broadcaster: Broadcaster) -> None:
        self.broadcaster = broadcaster
        self.state: dict[str, int] = {}
        self.number = 0

    def move(self, times: int = 1) -> None:
        for _ in range(times):
            self.number += 1
            name = "abc"[self.number % 3]
            self.state[name] = self.number
            self.broadcaster.broadcast("price", {"name": name, "number": self.number})

    async def snapshot(self, start: Start) -> list[tuple[str, Any]]:
        await asyncio.sleep(0)
        return [] if start.complete else [("snapshot", dict(self.state))]


class Browser:
    """An EventSource and the page behind it. A gap makes it doubt its state until a snapshot comes."""

    def __init__(self, last_id: str) -> None:
        self.last_id = last_id
        self.state: dict[str, int] | None = None
        self.numbers: list[int] = []
        self.gaps = 0

    def read(self, stream: bytes) -> "Browser":
        """One connection's worth, up to where it was cut."""
        seen = got(stream, self.last_id)
        for event in seen.events:
            value = json.loads(event.data)
            if event.type == "gap":
                self.gaps += 1
                self.state = None
                self.numbers.clear()
            elif event.type == "snapshot":
                self.state = value
            else:
                assert self.state is not None
                self.state[value["name"]] = value["number"]
                self.numbers.append(value["number"])
        self.last_id = seen.last_id
        return self


async def _connection(app: EventStream, last_id: str, then: Callable[[], None] = lambda: None) -> bytes:
    """All that a client with this id gets until there is no more, and what `then` leads to."""
    client = Exchange(app, headers=headers_of(last_id or None), query_string=b"")
    await until(lambda: len(client.messages) > 1)
    await turns(8)
    then()
    await turns(8)
    client.leave()
    await client.end()
    return client.text.encode()


@pytest.mark.parametrize("between", [0, 1, 7])
@pytest.mark.parametrize("asked", ["new", "resumed", "resumed at the head", "evicted", "epoch", "future", "invalid"])
async def test_a_cut_anywhere_loses_nothing(asked: str, between: int) -> None:
    """After every byte of the start, and of what follows; then the browser comes back, `between` events later."""
    broadcaster = with_history(8, retry=1)
    prices = Prices(broadcaster)
    app = EventStream(broadcaster, initial=prices.snapshot)
    begin = await first_id(broadcaster)
    last_ids = {
        "new": "",
        "resumed": str(begin.at(7)),
        "resumed at the head": str(begin.at(10)),
        "evicted": str(begin.at(1)),
        "epoch": OTHER,
        "future": str(begin.at(99)),
        "invalid": "nonsense",
    }
    last_id = last_ids[asked]
    prices.move(7)
    seven = dict(prices.state)
    prices.move(3)
    ten = dict(prices.state)
    whole = await _connection(app, last_id, lambda: prices.move(2))
    prices.move(between)
    end_of_start = whole.index(b"\n\n", whole.index(b"\nid: ")) + 2
    second: dict[str, bytes] = {}
    for cut in range(len(whole) + 1):
        browser = Browser(last_id)
        if asked == "resumed":  # what it had seen by then
            browser.state, browser.numbers = dict(seven), list(range(1, 8))
        elif asked == "resumed at the head":
            browser.state, browser.numbers = dict(ten), list(range(1, 11))
        browser.read(whole[:cut])
        assert cut >= end_of_start or browser.last_id == last_id
        gaps, asked_again = browser.gaps, browser.last_id
        if asked_again not in second:
            second[asked_again] = await _connection(app, asked_again)
        again = second[asked_again]
        browser.read(again)
        known = asked_again in {str(begin.at(position)) for position in range(prices.number - 8, prices.number + 1)}

        assert browser.state == prices.state
        # Each number once, without a hole up to the last one.
        assert browser.numbers == list(range(prices.number - len(browser.numbers) + 1, prices.number + 1))
        assert (b"event: snapshot" in again) != known
        assert browser.gaps == gaps + (not known and asked_again != "")


async def test_a_browser_that_has_had_no_event_can_resume_too() -> None:
    broadcaster = with_history()
    new = await seen_by(broadcaster)
    assert new.events == [] and new.last_id
    publish(broadcaster, 1, 2)
    assert (await seen_by(broadcaster, new.last_id)).texts == ["1", "2"]


# ---- initial as a callable ----


def _answers(asynchronous: bool, told: list[Start]) -> Callable[[Start], Any]:
    def initial(start: Start) -> list[tuple[str, Any]]:
        told.append(start)
        return [("hello", "h")]

    async def initial_async(start: Start) -> list[tuple[str, Any]]:
        await asyncio.sleep(0)
        return initial(start)

    return initial_async if asynchronous else initial


STARTS: dict[str, tuple[Callable[[Id], str | None], bool, str | None]] = {
    "new": (lambda begin: None, False, None),
    "resumed": (lambda begin: str(begin.at(8)), True, None),
    "evicted": (lambda begin: str(begin.at(1)), False, "evicted"),
    "epoch": (lambda begin: OTHER, False, "epoch"),
    "future": (lambda begin: str(begin.at(99)), False, "future"),
    "invalid": (lambda begin: "nonsense", False, "invalid"),
}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("way", ["EventStream", "stream"])
@pytest.mark.parametrize("asked", STARTS)
async def test_a_callable_is_told_how_the_stream_begins(asked: str, way: str, asynchronous: bool) -> None:
    broadcaster = with_history(4)
    begin = await first_id(broadcaster)
    publish(broadcaster, *range(1, 9))
    make, complete, reason = STARTS[asked]
    last_id = make(begin)
    told: list[Start] = []
    initial = _answers(asynchronous, told)
    if way == "stream":
        asked_for = _fastware_request(headers_of(last_id), b"")
        text = await _begin_of_generator((await broadcaster.stream(asked_for, initial)).generator)
        scope = asked_for.scope
    else:
        client = await come(broadcaster, last_id, initial=initial)
        client.leave()
        text = (await client.end()).text.encode()
        scope = client.scope
    (start,) = told
    assert (start.requested, start.complete, start.reason) == (last_id, complete, reason)
    assert start.scope is scope
    assert [event.type for event in got(text).events if event.type != "message"] == ["gap"] * bool(reason) + ["hello"]


async def test_a_callable_without_a_history_is_told_that_nothing_is_complete() -> None:
    told: list[Start] = []
    await seen_by(permissive(), str(OTHER), initial=_answers(False, told))
    assert (told[0].requested, told[0].complete, told[0].reason) == (OTHER, False, None)


@asynccontextmanager
async def _waiting(broadcaster: Broadcaster, last_id: str | None, way: str) -> AsyncIterator[tuple[Any, Any]]:
    """A stream whose `initial` waits; the block gets what lets it go on, and what returns the stream's bytes."""
    gate, entered = asyncio.Event(), asyncio.Event()

    async def initial(start: Start) -> list[tuple[str, Any]]:
        entered.set()
        await gate.wait()
        return [("hello", "h")]

    if way == "stream":
        stream = await broadcaster.stream(_fastware_request(headers_of(last_id), b""), initial)
        client = Client(stream.generator)
        await entered.wait()
        yield gate, lambda: "".join(client.chunks).encode()
        await client.leave()
    else:
        exchanged = Exchange(EventStream(broadcaster, initial=initial), headers=headers_of(last_id), query_string=b"")
        await entered.wait()
        yield gate, lambda: exchanged.text.encode()
        exchanged.leave()
        await exchanged.end()


@pytest.mark.parametrize("way", ["EventStream", "stream"])
@pytest.mark.parametrize("asked", STARTS)
async def test_an_event_while_initial_waits_comes_once_and_behind_the_id(asked: str, way: str) -> None:
    """The history is full, so each event drives out the oldest, where a client begins that could not resume."""
    broadcaster = with_history(6)
    begin = await first_id(broadcaster)
    publish(broadcaster, *range(1, 9))
    async with _waiting(broadcaster, STARTS[asked][0](begin), way) as (gate, received):
        publish(broadcaster, 9)
        await turns(8)
        assert received() == b""
        publish(broadcaster, 10)
        gate.set()
        await until(lambda: b"data: 10\n" in received())
        publish(broadcaster, 11)
        await until(lambda: b"data: 11\n" in received())
        seen = got(received())
    first = {"new": 9, "resumed": 9}.get(asked, 5)
    assert seen.texts == [str(number) for number in range(first, 12)]
    assert received().count(f"id: {begin.at(first - 1)}\n\n".encode()) == 1
    assert broadcaster.stats()["pruned_by_history"] == 0


@pytest.mark.parametrize("way", ["EventStream", "stream"])
@pytest.mark.parametrize("asked", ["resumed", "evicted", "epoch", "future", "invalid"])
async def test_a_history_that_passes_even_what_came_while_initial_waited_ends_the_stream(asked: str, way: str) -> None:
    """Else an event between the snapshot and the stream would be missing."""
    broadcaster = with_history(6)
    begin = await first_id(broadcaster)
    publish(broadcaster, *range(1, 9))
    resumes = asked == "resumed"
    last_id = str(begin.at(6)) if resumes else STARTS[asked][0](begin)
    first, end = (7, 13) if resumes else (9, 15)  # the last that the history may drive out meanwhile is 6, or 8
    async with _waiting(broadcaster, last_id, way) as (gate, received):
        publish(broadcaster, *range(9, end))
        gate.set()
        await until(lambda: f"data: {end - 1}\n".encode() in received())
        assert got(received()).texts == [str(number) for number in range(first, end)]
    async with _waiting(broadcaster, last_id, way) as (gate, received):
        publish(broadcaster, *range(end, end + 7))
        gate.set()
        await until(lambda: broadcaster.client_count == 0)
        await turns(8)
        assert got(received()).texts == []
    assert broadcaster.stats()["pruned_by_history"] == 1


async def test_an_event_published_by_initial_itself_follows_the_id() -> None:
    broadcaster = with_history()

    def initial(start: Start) -> list[tuple[str, Any]]:
        publish(broadcaster, 1)
        return [("hello", "h")]

    seen = await seen_by(broadcaster, initial=initial)
    assert [(event.type, event.data) for event in seen.events] == [("hello", "h"), ("message", "1")]
    assert seen.events[0].last_event_id == ""


async def test_a_callable_is_for_streams_of_ours_alone() -> None:
    class Mine(Broadcaster):
        async def _event_generator(self, queue: Any, initial: Any = None) -> Any:
            yield ""

    with pytest.raises(TypeError, match="^initial must be a list"):
        await open_stream(Mine(), lambda start: [])


async def test_the_list_form_is_sent_to_everybody() -> None:
    broadcaster = with_history()
    begin = await first_id(broadcaster)
    for last_id in (None, str(begin), OTHER):
        seen = await seen_by(broadcaster, last_id, initial=[("hello", "h")])
        assert [event.type for event in seen.events if event.type != "gap"] == ["hello"]


# ---- stats ----


async def test_stats_of_those_who_come_back_and_of_what_is_kept_for_them() -> None:
    broadcaster = with_history(2)
    begin = await first_id(broadcaster)
    slow = joined(broadcaster)
    size = len(f"event: message\nid: {begin}\ndata: 1\n\n")
    publish(broadcaster, 1, 2, 3)

    def some_of(counts: dict[str, int]) -> dict[str, int]:
        """Those that are not 0, without those of what was published."""
        return {key: counts[key] for key in counts.keys() - {"events", "bytes"} if counts[key]}

    kept = {"log_events": 3, "log_bytes": 3 * size, "history_events": 2, "history_bytes": 2 * size}
    assert some_of(broadcaster.stats()) == kept | {"connected": 1, "total": 2, "lag": 3}
    slow.close()
    kept |= {"log_events": 2, "log_bytes": 2 * size}
    assert some_of(broadcaster.stats()) == kept | {"total": 2}

    begun = {"total": 2}
    last_ids = {"resumed": begin.at(2), "gaps_evicted": begin, "gaps_epoch": OTHER, "gaps_future": begin.at(9)}
    for key, last_id in (last_ids | {"gaps_invalid": "x"}).items():
        await seen_by(broadcaster, str(last_id))
        begun |= {"total": begun["total"] + 1, key: 1}
        assert some_of(broadcaster.stats()) == kept | begun


# ---- options ----


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (TypeError, {"history": "10"}),
        (TypeError, {"history": 1.0}),
        (TypeError, {"history": True}),
        (ValueError, {"history": -1}),
        (ValueError, {"history": -(10**30)}),
        (TypeError, {"history_bytes": "10", "history": 1}),
        (TypeError, {"history_bytes": False, "history": 1}),
        (ValueError, {"history_bytes": 0, "history": 1}),
        (ValueError, {"history_bytes": -1, "history": 1}),
        (ValueError, {"history_bytes": 1}),
        (ValueError, {"history_bytes": 1, "history": 0}),
        (TypeError, {"gap_event": 1}),
        (TypeError, {"gap_event": b"gap"}),
        (ValueError, {"gap_event": "a\nb"}),
        (ValueError, {"gap_event": "a\rb"}),
        (ValueError, {"gap_event": "a\0b"}),
        (UnicodeEncodeError, {"gap_event": "\ud800"}),
        (TypeError, {"on_connect": "f"}),
        (TypeError, {"on_disconnect": 5}),
        (TypeError, {"max_buffer_bytes": "1"}),
        (TypeError, {"max_buffer_bytes": 1.5}),
        (TypeError, {"max_buffer_bytes": True}),
        (ValueError, {"max_buffer_bytes": 0}),
        (ValueError, {"max_buffer_bytes": -1}),
    ],
    ids=str,
)
def test_wrong_options_are_refused_by_name(error: type[Exception], options: dict[str, Any]) -> None:
    name = next(iter(options))
    with pytest.raises(error, match=None if error is UnicodeEncodeError else f"^{name} "):
        Broadcaster(**options)


@pytest.mark.parametrize("options", [{"hist": 1}, {"max_ages": 5}])
def test_unknown_options_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        Broadcaster(**options)


@pytest.mark.parametrize("options", [{"history": 0}, {"history": 10**30}, {"history": 1, "history_bytes": 10**30}])
def test_what_is_more_than_any_memory_is_no_limit(options: dict[str, Any]) -> None:
    broadcaster = permissive(**options)
    publish(broadcaster, 1)
    assert broadcaster.stats()["history_events"] == bool(options["history"])


async def test_a_subclass_that_forgets_init_has_no_history() -> None:
    class Mine(Broadcaster):
        def __init__(self) -> None:
            pass

    broadcaster = Mine()
    broadcaster.register_event("message")
    client = await come(broadcaster, OTHER)
    publish(broadcaster, 1)
    await turns()
    assert client.text == ":\n\n" + message("1")
    client.leave()
    await client.end()


async def test_the_id_of_several_blocks_goes_with_the_last() -> None:
    """A cut between them must repeat the first, and not lose the second."""

    class Twice(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            return super()._format_sse(event, data) + super()._format_sse("copy", data)

    broadcaster = Twice(strict=False, history=10)
    client = await connect(broadcaster)
    broadcaster.broadcast("message", "x")
    (_, both) = await client.has(2)
    first, last = both.removesuffix("\n\n").split("\n\n")
    assert first == "event: message\ndata: x"
    assert last.startswith("id: ") and last.endswith("\nevent: copy\ndata: x")
    await client.leave()
