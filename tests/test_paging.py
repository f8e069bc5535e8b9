"""Clients whose place is not in the local log: pages from the backplane, in front of what is live, each event once."""

import asyncio
import gc
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from exchange import Exchange, until
from fastware.request import Request
from memory import Memory, Server
from resuming import Got, Id, got, headers_of
from support import Client, permissive, turns

from fastware_sse import Broadcaster, _paging
from fastware_sse.asgi import EventStream, Start
from fastware_sse.backplane import Entry, Page, PositionLost, decoded, encoded

EPOCH, OTHER = "m" * 13, "n" * 13


def position(number: int) -> str:
    """They grow by more than one, as in a stream with entries of others."""
    return encoded(3 * number, 13)


def id_of(number: int, epoch: str = EPOCH) -> str:
    return f"{epoch}-{position(number)}"


class Archive:
    """Stands for a Broadcaster's relay: the server is a list, and what it answers, and when, is the test's to say."""

    def __init__(self, broadcaster: Broadcaster, size: int) -> None:
        self.broadcaster = broadcaster
        self.size = size
        self.entries: list[Entry] = []
        self.epoch = EPOCH
        self.trimmed = 0
        self.asked: list[int] = []  # the numbers behind which
        self.answers = asyncio.Event()
        self.answers.set()
        self.known = asyncio.Event()
        self.before: Callable[[], object] = lambda: None  # a page is read
        self.after: Callable[[], object] = lambda: None

    def begin(self) -> None: ...

    def close(self) -> None: ...

    def stats(self) -> dict[str, object]:
        return {}

    @property
    def last(self) -> int:
        return max((decoded(entry.position) for entry in self.entries), default=self.trimmed)

    def add(self, *numbers: int) -> list[Entry]:
        new = [Entry(position(number), "message", b"%d" % number) for number in numbers]
        self.entries += new
        return new

    def publish(self, *numbers: int) -> None:
        """To the server, and from there to here."""
        self.broadcaster._deliver(self.add(*numbers))

    def trim(self, number: int) -> None:
        """Everything up to that one."""
        self.trimmed = 3 * number
        self.entries = [entry for entry in self.entries if decoded(entry.position) > self.trimmed]

    def meet(self, number: int = 0) -> None:
        """The first contact, with a stream whose last entry that is."""
        self.broadcaster._rebase(EPOCH, position(number))
        self.known.set()

    async def contact(self) -> None:
        await self.known.wait()

    async def page(self, epoch: str, at: str) -> Page:
        self.asked.append(decoded(at) // 3)
        await self.answers.wait()
        await asyncio.sleep(0)
        self.before()
        if epoch != self.epoch or not self.trimmed <= decoded(at) <= self.last:
            raise PositionLost("gone")
        behind = [entry for entry in self.entries if decoded(entry.position) > decoded(at)]
        page = Page(behind[: self.size], len(behind) < self.size)
        self.after()
        return page


def paged(size: int = 3, *, met: bool = True, **options: Any) -> tuple[Broadcaster, Archive]:
    broadcaster = permissive(backplane=Memory(Server()), **options)
    archive = Archive(broadcaster, size)
    broadcaster._backplane = archive  # type: ignore[assignment]
    if met:
        archive.meet()
    return broadcaster, archive


class Viewer:
    """A client of the one way or of the other, and what it makes of its stream."""

    def __init__(self, broadcaster: Broadcaster, last_id: str | None = None, way: str = "app", **options: Any) -> None:
        self.broadcaster, self.last_id = broadcaster, last_id
        self.exchange = Exchange(EventStream(broadcaster, **options), headers=headers_of(last_id), query_string=b"")

    @property
    def text(self) -> str:
        return self.exchange.text

    @property
    def got(self) -> Got:
        return got(self.text.encode(), self.last_id or "")

    @property
    def numbers(self) -> list[int]:
        return list(map(int, self.got.texts))

    async def has(self, numbers: range | list[int]) -> None:
        await until(lambda: len(self.numbers) >= len(numbers) or self.exchange.task.done())
        await turns(8)
        assert self.numbers == list(numbers)

    async def leave(self) -> None:
        self.exchange.leave()
        await self.exchange.end()


async def text_stream(broadcaster: Broadcaster, last_id: str | None) -> Client:
    """The way of stream(), which sends an event at a time."""
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers_of(last_id)}
    return Client((await broadcaster.stream(Request(scope, {}, None))).generator)


def gap(reason: str, last_id: str) -> str:
    return f'{{"reason":"{reason}","last_event_id":"{last_id}"}}'


# ---- pages, and the seam ----


async def test_who_was_away_for_long_gets_pages_and_then_what_is_live() -> None:
    broadcaster, archive = paged(size=3)
    archive.publish(*range(1, 12))
    starts: list[Start] = []
    client = Viewer(broadcaster, id_of(1), initial=lambda start: (starts.append(start), [("hello", "")])[1])
    await client.has(range(2, 12))
    archive.publish(12, 13)
    await client.has(range(2, 14))
    (start,) = starts
    assert (start.complete, start.reason, start.requested) == (True, None, id_of(1))
    assert client.text.startswith(f"event: hello\ndata: \n\nid: {id_of(1)}\n\nevent: message\nid: {id_of(2)}\n")
    assert [event.last_event_id for event in client.got.events[1:]] == [id_of(number) for number in range(2, 14)]
    assert archive.asked == [1, 4, 7, 10], "each page once, and none when there is nothing more"
    stats = broadcaster.stats()
    assert [stats[name] for name in ("connected", "total", "resumed", "gaps_evicted")] == [1, 1, 1, 0]
    await client.leave()


async def test_the_local_log_is_asked_first() -> None:
    broadcaster, archive = paged(history=5)
    archive.publish(*range(1, 11))
    near = Viewer(broadcaster, id_of(5))
    await near.has(range(6, 11))
    assert archive.asked == []
    far = Viewer(broadcaster, id_of(4))
    await far.has(range(5, 11))
    assert archive.asked[0] == 4
    await near.leave()
    await far.leave()


async def test_one_event_a_chunk_where_that_is_the_way() -> None:
    broadcaster, archive = paged(size=3)
    archive.publish(*range(1, 9))
    client = await text_stream(broadcaster, id_of(2))
    chunks = await client.has(7)
    archive.publish(9)
    await client.has(8)
    assert chunks[0] == f"id: {id_of(2)}\n\n"
    assert [chunk.count("data: ") for chunk in chunks[1:]] == [1] * 7
    assert got("".join(chunks).encode()).texts == list(map(str, range(3, 10)))
    await client.leave()


@pytest.mark.parametrize("history", [0, 4])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
async def test_no_seam_whatever_is_published_meanwhile(size: int, history: int) -> None:
    """From each place there is, with events that come before a page is read, after it, or both."""
    chance = random.Random(size)
    for begin in range(12):
        for busy in range(4):
            broadcaster, archive = paged(size, history=history)
            archive.publish(*range(1, 11))
            number = iter(range(11, 10_000))

            def some(busy: int = busy, archive: Archive = archive, number: Any = number, size: int = size) -> None:
                if len(archive.entries) < 40:
                    archive.publish(*(next(number) for _ in range(chance.randint(0, busy if size > 1 else 1))))

            archive.before = archive.after = some
            client = Viewer(broadcaster, id_of(begin) if begin < 11 else None)
            await until(lambda client=client: len(client.exchange.messages) > 1)
            await turns(200)
            archive.publish(next(number))
            await turns(8)
            newest = int(archive.entries[-1].data)
            first = begin + 1 if begin < 11 else newest
            await client.has(range(first, newest + 1))
            assert not client.got.gaps
            await client.leave()


async def test_a_page_that_is_older_than_the_head_is_not_the_last() -> None:
    """It was read before this client asked, for another: so it does not reach the head at which it arrives."""
    broadcaster, archive = paged(size=100)
    archive.publish(*range(1, 6))
    stale = [Page([], True), Page(list(archive.entries[2:4]), True), Page([], True)]
    archive.publish(6, 7, 8)
    fresh = archive.page

    async def page(epoch: str, at: str) -> Page:
        answer = await fresh(epoch, at)
        return stale.pop(0) if stale else answer

    archive.page = page  # type: ignore[method-assign]
    client = Viewer(broadcaster, id_of(2))
    await client.has(range(3, 9))
    archive.publish(9)
    await client.has(range(3, 10))
    await client.leave()


async def test_a_head_that_is_no_event_ends_the_way_too() -> None:
    """The last entry is somebody else's, or was trimmed away: no page ever comes up to it."""
    broadcaster, archive = paged(size=3, met=False)
    archive.add(*range(1, 6))
    archive.meet(9)
    client = Viewer(broadcaster, id_of(1))
    await client.has(range(2, 6))
    await turns(40)
    assert archive.asked == [1, 4, 5, 5], "once more than it need be, and no more"
    archive.publish(10)
    await client.has([*range(2, 6), 10])
    await client.leave()


async def test_what_may_not_stand_on_the_wire_is_left_out_of_pages_too() -> None:
    broadcaster, archive = paged(size=2)
    archive.entries += [Entry(position(1), "a\nb", b""), Entry(position(2), "message", b"\xff")]
    archive.publish(3, 4)
    client = Viewer(broadcaster, id_of(0))
    await client.has([3, 4])
    await client.leave()


# ---- a process that is behind others ----


async def test_who_comes_from_a_process_that_was_ahead_gets_nothing_twice() -> None:
    broadcaster, archive = paged(history=10)
    archive.publish(1, 2)
    ahead = archive.add(3, 4, 5)
    client = Viewer(broadcaster, id_of(4))
    await until(lambda: archive.asked == [4])
    await turns(8)
    assert client.text == f"id: {id_of(4)}\n\n"
    broadcaster._deliver(ahead[:1])
    await turns(8)
    broadcaster._deliver(ahead[1:])
    await client.has([5])
    archive.publish(6, 7, 8)
    await client.has([5, 6, 7, 8])
    assert client.exchange.bodies[-1].count(b"data: ") == 3, "together, as before"
    assert not client.got.gaps
    await client.leave()


async def test_pages_that_were_ahead_come_once() -> None:
    broadcaster, archive = paged(size=2)
    archive.publish(1, 2, 3)
    ahead = archive.add(4, 5, 6)
    client = Viewer(broadcaster, id_of(0))
    await client.has(range(1, 7))
    broadcaster._deliver(ahead)
    archive.publish(7)
    await client.has(range(1, 8))
    await client.leave()


async def test_one_who_is_ahead_hears_heartbeats_and_can_be_ended() -> None:
    broadcaster, archive = paged(heartbeat_interval=0.01)
    archive.publish(1)
    archive.add(2)
    client = Viewer(broadcaster, id_of(2))
    await until(lambda: client.text.count(": heartbeat\n\n") > 2)
    broadcaster.close()
    await client.exchange.end()
    assert client.numbers == []


@pytest.mark.parametrize(
    ("epoch", "last"),
    [(EPOCH, 2), (OTHER, 2), (OTHER, 5)],
    ids=["lost its last writes", "was made anew", "was made anew and is as long"],
)
async def test_one_who_is_ahead_of_a_stream_that_then_is_another_is_told(epoch: str, last: int) -> None:
    broadcaster, archive = paged()
    archive.publish(1, 2, 3)
    archive.add(4, 5, 6)
    client = Viewer(broadcaster, id_of(6))
    await until(lambda: archive.asked == [6])
    await turns(8)
    broadcaster._rebase(epoch, position(last), ("gap", "x"))
    await until(lambda: client.got.gaps == ["x"])
    assert client.got.last_id == id_of(last, epoch)
    broadcaster._deliver(archive.add(last + 1, last + 2))
    await client.has([last + 1, last + 2])
    await client.leave()


# ---- gaps ----


async def test_what_was_trimmed_away_is_a_gap_with_a_snapshot() -> None:
    broadcaster, archive = paged(history=3)
    archive.publish(*range(1, 11))
    archive.trim(5)
    starts: list[Start] = []
    client = Viewer(broadcaster, id_of(4), initial=lambda start: (starts.append(start), [("snapshot", "")])[1])
    await client.has(range(8, 11))
    (start,) = starts
    assert (start.complete, start.reason, start.requested) == (False, "evicted", id_of(4))
    assert client.got.gaps == [gap("evicted", id_of(4))]
    assert [event.type for event in client.got.events[:2]] == ["gap", "snapshot"]
    assert f"id: {id_of(7)}\n\n" in client.text
    assert broadcaster.stats()["gaps_evicted"] == 1
    await client.leave()


async def test_an_id_that_no_entry_has_had_yet_is_of_the_future() -> None:
    broadcaster, archive = paged(history=3)
    archive.publish(1, 2)
    client = Viewer(broadcaster, id_of(9))
    await client.has([1, 2])
    assert client.got.gaps == [gap("future", id_of(9))]
    await client.leave()


async def test_a_number_that_no_server_gives_out_is_asked_of_none() -> None:
    for digits in ("7" * 13, "p" + "7" * 12):  # more than 64 bits, and the most that fits
        broadcaster, archive = paged(history=3)
        archive.publish(1, 2)
        last_id = id_of(9)[:14] + digits
        client = Viewer(broadcaster, last_id)
        await client.has([1, 2])
        assert client.got.gaps == [gap("future", last_id)]
        assert not archive.asked
        await client.leave()


@pytest.mark.parametrize("how", ["trimmed", "rebased", "both"])
async def test_what_goes_while_it_is_read_ends_the_stream(how: str) -> None:
    """As where the local history passes somebody who catches up: when it is back, it is told."""
    reasons: list[str | None] = []
    broadcaster, archive = paged(size=2, history=3, on_disconnect=lambda client: reasons.append(client.reason))
    archive.publish(*range(1, 11))

    def go() -> None:
        if len(archive.asked) == 3:
            if how != "rebased":
                archive.trim(8)
            if how != "trimmed":
                broadcaster._rebase(EPOCH, position(10), ("gap", ""))

    archive.before = go
    client = Viewer(broadcaster, id_of(1))
    await client.exchange.end()
    assert client.numbers[:4] == [2, 3, 4, 5]
    assert client.numbers == list(range(2, client.numbers[-1] + 1)), "nothing is left out"
    assert reasons == ["history"]
    assert broadcaster.stats()["pruned_by_history"] == 1
    if how != "rebased":
        again = Viewer(broadcaster, client.got.last_id)
        await until(lambda: bool(again.got.gaps))
        assert again.got.gaps == [gap("evicted", id_of(5))]
        await again.leave()


@pytest.mark.parametrize("what", ["pruned", "closed", "shutdown", "history"])
async def test_what_happens_between_the_head_and_the_last_page(what: str) -> None:
    """It has its place in the log, and what is in front of that has not come yet: that is not left out."""
    reasons: list[str | None] = []
    broadcaster, archive = paged(100, buffer_size=4, on_disconnect=lambda client: reasons.append(client.reason))
    archive.publish(*range(1, 6))

    def after() -> None:
        archive.publish(6)
        archive.answers.clear()
        archive.after = lambda: None

    archive.after = after
    client = Viewer(broadcaster, id_of(0))
    await until(lambda: len(archive.asked) == 2)
    archive.publish(7)
    if what == "pruned":
        archive.publish(*range(8, 20))
    elif what == "closed":
        broadcaster.close()
    elif what == "shutdown":
        broadcaster._end_streams(asyncio.get_running_loop())
    else:
        archive.trim(6)
    if what in ("pruned", "history"):
        archive.answers.set()
    await client.exchange.end()
    assert client.numbers == list(range(1, 11 if what == "pruned" else 6))
    assert reasons == [what]


# ---- before the first contact ----


async def test_before_the_first_contact_a_stream_is_live_and_its_id_follows() -> None:
    broadcaster, archive = paged(met=False)
    client = Viewer(broadcaster, initial=[("hello", "")])
    await until(lambda: len(client.exchange.messages) > 1)
    assert client.text == "event: hello\ndata: \n\n"
    archive.meet(4)
    await until(lambda: client.text.endswith(f"id: {id_of(4)}\n\n"))
    archive.publish(5)
    await client.has([5])
    assert client.got.last_id == id_of(5)
    await client.leave()


@pytest.mark.parametrize(
    ("last_id", "reason", "numbers"),
    [
        (id_of(2), None, [3, 4, 5]),
        (id_of(4), None, [5]),
        (id_of(9), "future", [5]),
        (id_of(2, OTHER), "epoch", [5]),
        ("nonsense", "invalid", [5]),
    ],
)
async def test_no_id_is_judged_before_the_first_contact(
    last_id: str, reason: str | None, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_paging, "_SOON", 0.01)
    resumes: list[str | None] = []
    broadcaster, archive = paged(
        met=False, history=9, heartbeat_interval=0.01, on_connect=lambda client: resumes.append(client.resume)
    )
    archive.add(1, 2, 3, 4)
    asked: list[Start] = []
    client = Viewer(broadcaster, last_id, initial=lambda start: (asked.append(start), [])[1])
    await until(lambda: client.text.count(": heartbeat\n\n") > 2)
    assert client.text.startswith(":\n\n: heartbeat\n\n")
    assert not asked and not archive.asked and broadcaster.client_count == 1
    archive.meet(4)
    await until(lambda: bool(asked))
    archive.publish(5)
    await client.has(numbers)
    assert (asked[0].complete, asked[0].reason) == (reason is None, reason)
    assert len(client.got.gaps) == (reason is not None)
    assert resumes == [None], "it was not known when the client came"
    await client.leave()


async def test_an_initial_that_fails_after_a_heartbeat_ends_the_stream(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_paging, "_SOON", 0.01)
    broadcaster, archive = paged(met=False)
    client = Viewer(broadcaster, id_of(0), initial=lambda start: 1 / 0)
    await until(lambda: client.text == ":\n\n")
    archive.meet()
    await client.exchange.end()
    assert client.exchange.status == 200 and client.exchange.complete
    assert "the initial events of a stream failed" in caplog.text
    assert broadcaster.client_count == 0


# ---- while the server does not answer ----


async def waiting(broadcaster: Broadcaster, archive: Archive, stage: str) -> Viewer:
    """A client that waits for the server: for the first contact, its first page, or one behind that."""
    if stage != "contact":
        archive.meet()
        archive.publish(*range(1, 10))
    if stage == "page":
        archive.answers.clear()
    if stage == "next page":
        archive.after = archive.answers.clear
    client = Viewer(broadcaster, id_of(1))
    if stage == "contact":
        await turns(8)
    else:
        await until(lambda: len(archive.asked) == (1 if stage == "page" else 2))
    await turns(8)
    return client


STAGES = pytest.mark.parametrize("stage", ["contact", "page", "next page"])


@STAGES
async def test_heartbeats_go_on(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_paging, "_SOON", 0.01)
    broadcaster, archive = paged(met=False, heartbeat_interval=0.01)
    client = await waiting(broadcaster, archive, stage)
    beats = client.text.count(": heartbeat\n\n")
    await until(lambda: client.text.count(": heartbeat\n\n") > beats + 3)
    assert client.numbers == ([2, 3, 4] if stage == "next page" else [])
    archive.after = lambda: None
    archive.answers.set()
    if stage == "contact":
        archive.meet()
        archive.publish(2)
    await client.has([2] if stage == "contact" else range(2, 10))
    await client.leave()


@STAGES
async def test_who_gets_no_heartbeats_hears_once_that_somebody_is_here(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_paging, "_SOON", 0.01)
    broadcaster, archive = paged(met=False)
    client = await waiting(broadcaster, archive, stage)
    if stage != "next page":
        await until(lambda: client.text == ":\n\n")
    before = client.text
    await asyncio.sleep(0.05)
    assert client.text == before
    await client.leave()


@STAGES
@pytest.mark.parametrize("end", ["close", "shutdown", "max_age", "left"])
async def test_each_end_comes_at_once(stage: str, end: str) -> None:
    reasons: list[str | None] = []
    broadcaster, archive = paged(
        met=False, max_age=1 if end == "max_age" else None, on_disconnect=lambda client: reasons.append(client.reason)
    )
    loop = asyncio.get_running_loop()
    client = await waiting(broadcaster, archive, stage)
    assert broadcaster.client_count == 1 and len(broadcaster._waiting) == 1
    if end == "close":
        broadcaster.close()
    elif end == "shutdown":
        broadcaster._end_streams(loop)
    elif end == "left":
        client.exchange.leave()
    await client.exchange.end()
    assert reasons == [{"close": "closed"}.get(end, end)]
    assert broadcaster.client_count == 0 and not broadcaster._waiting
    assert client.numbers == ([2, 3, 4] if stage == "next page" else [])
    await turns(4)
    assert len([task for task in asyncio.all_tasks() if not task.done()]) == 1, "nobody asks on"


@STAGES
async def test_a_text_stream_that_is_given_up_asks_no_more(stage: str) -> None:
    broadcaster, archive = paged(met=False)
    if stage != "contact":
        archive.meet()
        archive.publish(*range(1, 10))
        if stage == "page":
            archive.answers.clear()
        else:
            archive.after = archive.answers.clear
    client = await text_stream(broadcaster, id_of(1))
    await until(lambda: broadcaster.client_count == 1 and bool(broadcaster._waiting))
    await turns(8)
    client.task.cancel()
    await client.end()
    await turns(4)
    assert broadcaster.client_count == 0 and not broadcaster._waiting
    assert len([task for task in asyncio.all_tasks() if not task.done()]) == 1


async def test_one_that_the_collector_finds_asks_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_paging, "_SOON", 0.01)
    broadcaster, archive = paged()
    archive.publish(*range(1, 10))
    archive.answers.clear()
    stream = await text_stream_of(broadcaster, id_of(1))
    assert await anext(stream) == ":\n\n"
    assert broadcaster.client_count == 1 and broadcaster._waiting
    del stream
    gc.collect()
    await turns(8)
    assert broadcaster.client_count == 0 and not broadcaster._waiting
    assert len([task for task in asyncio.all_tasks() if not task.done()]) == 1


async def text_stream_of(broadcaster: Broadcaster, last_id: str) -> Any:
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers_of(last_id)}
    return (await broadcaster.stream(Request(scope, {}, None))).generator


# ---- cuts, and memory ----


@pytest.mark.parametrize("begin", [0, 1, 4, 8, 9])
async def test_a_cut_anywhere_loses_nothing(begin: int) -> None:
    """After every byte of pages, of the seam, and of what is live; what was trimmed meanwhile is a gap."""
    broadcaster, archive = paged(size=2, history=2, retry=1)
    archive.publish(*range(1, 10))
    client = Viewer(broadcaster, id_of(begin))
    await client.has(range(begin + 1, 10))
    archive.publish(10, 11)
    await client.has(range(begin + 1, 12))
    await client.leave()
    whole = client.text.encode()
    archive.trim(begin)
    rest: dict[str, Got] = {}
    for cut in range(len(whole) + 1):
        before = got(whole[:cut], id_of(begin))
        if before.last_id not in rest:
            again = Viewer(broadcaster, before.last_id)
            await until(lambda again=again: len(again.exchange.messages) > 1)
            await turns(100)
            rest[before.last_id] = again.got
            await again.leave()
        assert not rest[before.last_id].gaps
        numbers = before.texts + rest[before.last_id].texts
        assert numbers == list(map(str, range(begin + 1, 12)))
    assert len(rest) == 12 - begin


async def test_memory_is_that_of_a_page_however_far_back() -> None:
    broadcaster, archive = paged(size=256)
    payload = b"x" * 113
    archive.entries = [Entry(position(number), "message", payload) for number in range(1, 50_001)]
    broadcaster._rebase(EPOCH, position(50_000))
    place = {decoded(entry.position): index for index, entry in enumerate(archive.entries)}

    async def page(epoch: str, at: str) -> Page:
        begin = place.get(decoded(at), -1) + 1
        return Page(archive.entries[begin : begin + 256], begin + 256 > 50_000)

    archive.page = page  # type: ignore[method-assign]
    stream = await text_stream_of(broadcaster, id_of(0))
    assert await anext(stream) == f"id: {id_of(0)}\n\n"
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(1, 50_001):
            chunk = await anext(stream)
            assert chunk.startswith(f"event: message\nid: {id_of(number)}\n")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1024 * 1024
    assert Id.parse(id_of(50_000)).epoch == EPOCH
    await stream.aclose()
