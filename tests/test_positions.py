"""What the C module does for a backplane: the outbox of broadcast(), delivery of what comes back, and places in it."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from support import run_python

from fastware_sse import Broadcaster, _core
from fastware_sse._core import BackplaneFull, Outbox
from fastware_sse.backplane import encoded

EPOCH, OTHER = "m" * 13, "n" * 13
DIGITS = pytest.mark.parametrize("digits", [13, 26])


def told(digits: int = 13, *, epoch: str | None = EPOCH, **options: Any) -> _core.Broadcaster:
    """One that is in contact, at position 0, unless there is no `epoch`."""
    broadcaster = _core.Broadcaster(strict=False, position_digits=digits, **options)
    if epoch is not None:
        broadcaster._rebase(epoch, encoded(0, digits))
    return broadcaster


def with_outbox(events: int = 100, bytes: int = 10_000, **options: Any) -> tuple[_core.Broadcaster, Outbox, list[int]]:
    """The list grows with each wake."""
    broadcaster = _core.Broadcaster(**({"strict": False, "position_digits": 13} | options))
    woken: list[int] = []
    outbox = Outbox(events, bytes, lambda: woken.append(len(outbox)))
    broadcaster._attach_outbox(outbox)
    return broadcaster, outbox, woken


def entries(*numbers: int, digits: int = 13) -> list[tuple[str, str, bytes]]:
    return [(encoded(number, digits), "message", b"%d" % number) for number in numbers]


def wire(number: int, digits: int = 13, epoch: str = EPOCH) -> str:
    return f"event: message\nid: {epoch}-{encoded(number, digits)}\ndata: {number}\n\n"


def id_of(number: int, digits: int = 13, epoch: str = EPOCH) -> bytes:
    return f"{epoch}-{encoded(number, digits)}".encode()


def join(broadcaster: _core.Broadcaster, last_id: bytes | None = None) -> _core.Subscription:
    subscription = broadcaster._subscribe()
    subscription.join(asyncio.get_running_loop(), last_id)
    return subscription


# ---- the outbox ----


def test_what_is_broadcast_waits_in_order_and_in_utf8() -> None:
    class Text(str): ...

    broadcaster, outbox, _ = with_outbox()
    broadcaster.broadcast("a", {"x": [1, None]})
    broadcaster.broadcast("b", "two\nlines")
    broadcaster.broadcast("ü", "ä€\N{BELL}")
    broadcaster.broadcast("c", Text("mine"))
    expected = [
        (1, "a", b'{"x":[1,null]}'),
        (2, "b", b"two\nlines"),
        (3, "ü", "ä€\N{BELL}".encode()),
        (4, "c", b"mine"),
    ]
    assert outbox.take(100, 10_000) == expected
    assert outbox.take(100, 10_000) == expected, "a look takes nothing away"
    assert len(outbox) == 4
    assert outbox.bytes == sum(len(event.encode()) + len(data) for _, event, data in expected)
    assert broadcaster.stats()["events"] == 0, "nobody here has got it"


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("unregistered", ""),
        ("a\rb", ""),
        ("a\nb", ""),
        ("a\0b", ""),
        ("\ud800", ""),
        ("known", "\ud800"),
        ("known", b"bytes"),
        ("known", object()),
        (1, ""),
    ],
)
def test_what_broadcast_refuses_it_refuses_here_too(event: Any, data: Any) -> None:
    broadcaster, outbox, woken = with_outbox(strict=True)
    plain = _core.Broadcaster()
    for one in (broadcaster, plain):
        one.register_event("known")
        if event == "unregistered":
            continue
        if isinstance(event, str) and event != "known":
            one._event_types.add(event)  # so that it is the name that is wrong
    errors = []
    for one in (broadcaster, plain):
        with pytest.raises((ValueError, TypeError)) as raised:
            one.broadcast(event, data)
        errors.append((type(raised.value), str(raised.value)))
    assert errors[0] == errors[1]
    assert (len(outbox), outbox.bytes, woken) == (0, 0, [])


def test_take_is_limited_and_done_goes_up_to_a_counter() -> None:
    broadcaster, outbox, _ = with_outbox()
    for number in range(10):
        broadcaster.broadcast("m", str(number) * 9)  # 10 bytes with its name
    counters = lambda events, bytes: [counter for counter, _, _ in outbox.take(events, bytes)]  # noqa: E731
    assert counters(3, 1000) == [1, 2, 3]
    assert counters(100, 30) == [1, 2, 3]
    assert counters(100, 39) == [1, 2, 3]
    assert counters(100, 0) == [1], "one at least"
    assert counters(0, 1000) == []
    outbox.done(4)
    outbox.done(2)
    assert (counters(2, 1000), len(outbox), outbox.bytes) == ([5, 6], 6, 60)
    outbox.done(99)
    assert (counters(2, 1000), len(outbox), outbox.bytes) == ([], 0, 0)
    broadcaster.broadcast("m", "")
    assert counters(1, 1) == [11]


@pytest.mark.parametrize("limits", [(50, 10_000), (10_000, 500)], ids=["events", "bytes"])
def test_a_full_one_refuses_and_keeps_what_it_has(limits: tuple[int, int]) -> None:
    broadcaster, outbox, _ = with_outbox(*limits)
    for number in range(50):
        broadcaster.broadcast("m", f"{number:9}")
    for _ in range(3):
        with pytest.raises(BackplaneFull, match="50 events.*500 bytes.*backplane_buffer"):
            broadcaster.broadcast("m", "refused..")
    assert issubclass(BackplaneFull, RuntimeError)
    assert (len(outbox), outbox.bytes) == (50, 500)
    outbox.done(1)
    broadcaster.broadcast("m", "the next.")
    assert [counter for counter, _, _ in outbox.take(100, 10_000)] == list(range(2, 52))


def test_an_empty_one_takes_an_event_of_any_size() -> None:
    broadcaster, outbox, _ = with_outbox(10, 100)
    broadcaster.broadcast("m", "x" * 1000)
    with pytest.raises(BackplaneFull):
        broadcaster.broadcast("m", "")
    outbox.done(1)
    broadcaster.broadcast("m", "")
    with pytest.raises(BackplaneFull):
        broadcaster.broadcast("m", "x" * 100)


def test_it_wakes_once_each_time_that_there_is_something() -> None:
    broadcaster, outbox, woken = with_outbox()
    for _ in range(5):
        broadcaster.broadcast("m", "")
    assert woken == [1], "and it is in by then"
    outbox.done(3)
    broadcaster.broadcast("m", "")
    assert woken == [1]
    outbox.done(6)
    broadcaster.broadcast("m", "")
    assert woken == [1, 1]


def test_a_wake_that_raises_is_told_and_the_event_is_in() -> None:
    broadcaster = _core.Broadcaster(strict=False, position_digits=13)
    results: list[Exception | None] = [KeyError("once"), None]

    def wake() -> None:
        if (error := results.pop(0)) is not None:
            raise error

    outbox = Outbox(10, 1000, wake)
    broadcaster._attach_outbox(outbox)
    with pytest.raises(KeyError):
        broadcaster.broadcast("m", "1")
    assert len(outbox) == 1
    broadcaster.broadcast("m", "2")
    assert (len(outbox), results) == (2, []), "the next one wakes"
    broadcaster.broadcast("m", "3")


def test_what_cannot_begin_takes_nothing() -> None:
    broadcaster = _core.Broadcaster(strict=False, position_digits=13)
    results: list[Exception | None] = [KeyError("once"), None]

    def begin() -> None:
        assert len(outbox) == 0
        if (error := results.pop(0)) is not None:
            raise error

    outbox = Outbox(10, 1000, lambda: None, begin)
    broadcaster._attach_outbox(outbox)
    with pytest.raises(UnicodeEncodeError):
        broadcaster.broadcast("m", "\ud800")
    with pytest.raises(KeyError):
        broadcaster.broadcast("m", "1")
    assert outbox.take(10, 1000) == []
    for data in ("2", "3"):
        broadcaster.broadcast("m", data)
    assert outbox.take(10, 1000) == [(1, "m", b"2"), (2, "m", b"3")] and results == []


def test_after_its_close_nothing_can_be_put_in() -> None:
    broadcaster, outbox, woken = with_outbox()
    for _ in range(3):
        broadcaster.broadcast("m", "")
    assert outbox.close() == 3
    assert outbox.close() == 0
    assert outbox.take(10, 10) == []
    with pytest.raises(RuntimeError, match="closed"):
        broadcaster.broadcast("m", "")
    assert woken == [1]


def test_a_closed_broadcaster_validates_and_reaches_nobody() -> None:
    broadcaster, outbox, _ = with_outbox()
    broadcaster.close()
    broadcaster.broadcast("m", "")
    assert len(outbox) == 0
    outbox.close()
    broadcaster.broadcast("m", "")
    with pytest.raises(ValueError, match="CR, LF"):
        broadcaster.broadcast("a\nb", "")


def test_the_ring_grows_over_its_end_and_is_given_back() -> None:
    broadcaster, outbox, _ = with_outbox(100_000, 10_000_000)
    broadcaster.broadcast("m", "0")
    for number in range(1, 5000):
        broadcaster.broadcast("m", str(number))
        if number % 3 == 0:
            outbox.done(number // 3)
    taken = outbox.take(100_000, 10_000_000)
    assert [int(data) for _, _, data in taken] == list(range(4999 // 3, 5000))
    assert [counter for counter, _, _ in taken] == list(range(4999 // 3 + 1, 5001))
    outbox.done(10**6)
    assert len(outbox) == 0


def test_threads_put_in_as_one_after_the_other() -> None:
    broadcaster, outbox, _ = with_outbox(10_000, 10_000_000)

    def publish(name: str) -> None:
        for number in range(500):
            broadcaster.broadcast(name, [number])

    threads = [threading.Thread(target=publish, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = outbox.take(10_000, 10_000_000)
    assert [counter for counter, _, _ in taken] == list(range(1, 2001))
    for name in "abcd":
        assert [data for _, event, data in taken if event == name] == [b"[%d]" % number for number in range(500)]


def test_an_outbox_whose_wake_leads_back_to_it_is_collected() -> None:
    class Owner:
        def __init__(self) -> None:
            self.broadcaster = _core.Broadcaster(strict=False, position_digits=13)
            self.broadcaster._attach_outbox(Outbox(10, 1000, self.wake))

        def wake(self) -> None: ...

    owner = Owner()
    owner.broadcaster.broadcast("m", {"a": 1})
    ref = weakref.ref(owner)
    del owner
    gc.collect()
    assert ref() is None


def test_what_an_outbox_is_made_of() -> None:
    for events, bytes in ((0, 1), (1, 0), (-1, 5)):
        with pytest.raises(ValueError, match="at least one"):
            Outbox(events, bytes, print)
    with pytest.raises(TypeError):
        Outbox(1)  # type: ignore[call-arg]
    for wrong in (-1, "1", 2**64):
        with pytest.raises((TypeError, OverflowError)):
            Outbox(1, 1, print).done(wrong)  # type: ignore[arg-type]


# ---- which Broadcasters have one ----


def test_an_own_format_cannot_be_had_with_a_backplane() -> None:
    class Mine(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            return "data: mine\n\n"

    broadcaster = Mine(strict=False)
    _core.Broadcaster.__init__(broadcaster, position_digits=13)
    with pytest.raises(TypeError, match="Mine has its own _format_sse"):
        broadcaster._attach_outbox(Outbox(1, 1, print))


def test_only_who_is_told_positions_has_an_outbox() -> None:
    plain = _core.Broadcaster(strict=False)
    for call in (
        lambda: plain._attach_outbox(Outbox(1, 1, print)),
        lambda: plain._deliver([]),
        lambda: plain._rebase(EPOCH, encoded(0, 13)),
    ):
        with pytest.raises(RuntimeError, match="numbers its events itself"):
            call()
    with pytest.raises(RuntimeError, match="no outbox"):
        told().broadcast("m", "")
    with pytest.raises(TypeError, match="not an Outbox"):
        told()._attach_outbox([])  # type: ignore[arg-type]


def test_another_outbox_takes_the_place_of_the_first() -> None:
    broadcaster, first, _ = with_outbox()
    broadcaster.broadcast("m", "1")
    broadcaster._attach_outbox(second := Outbox(10, 100, lambda: None))
    broadcaster.broadcast("m", "2")
    assert (len(first), second.take(1, 1)) == (1, [(1, "m", b"2")])


def test_positions_have_13_or_26_digits() -> None:
    for digits in (1, 12, 14, 27, -13):
        with pytest.raises(ValueError, match="position_digits must be 0, 13 or 26"):
            _core.Broadcaster(position_digits=digits)
    assert _core.Broadcaster(position_digits=13)._has_ids
    assert not _core.Broadcaster()._has_ids
    assert _core.Broadcaster(history=1)._has_ids


# ---- delivery ----


@DIGITS
async def test_what_is_delivered_carries_the_ids_of_the_stream(digits: int) -> None:
    broadcaster = told(digits)
    client = join(broadcaster)
    assert client.id == f"{EPOCH}-{encoded(0, digits)}"
    far = 2 ** (5 * digits - 1 - digits // 13)  # near the end of what 64 bits hold, in each number
    numbers = (1, 2, 77, 2**40, far)
    assert broadcaster._deliver(entries(*numbers, digits=digits)) == 0
    chunks = list(client)
    assert chunks == [wire(number, digits) for number in numbers]
    assert client.id == f"{EPOCH}-{encoded(far, digits)}"
    assert len(client.id) == 14 + digits


async def test_data_is_split_into_lines_and_nothing_else_is_looked_at() -> None:
    broadcaster = _core.Broadcaster(position_digits=13)  # strict: other versions of the app may send other events
    broadcaster._rebase(EPOCH, encoded(0, 13))
    client = join(broadcaster)
    broadcaster._deliver([(encoded(1, 13), "new", "a\r\nid: 7\r\rä".encode())])
    assert list(client) == [f"event: new\nid: {EPOCH}-{encoded(1, 13)}\ndata: a\ndata: id: 7\ndata: \ndata: ä\n\n"]


async def test_what_may_not_stand_on_the_wire_is_refused_and_the_rest_goes_out() -> None:
    broadcaster = told()
    client = join(broadcaster)
    poisoned = ("a\rb", "a\nb", "a\0b", "\ud800")
    batch: list[tuple[str, str, bytes]] = []
    for number, event in enumerate(poisoned):
        batch += [*entries(10 * number + 1), (encoded(10 * number + 2, 13), event, b"")]
    batch += [(encoded(90, 13), "message", b"\xff"), (encoded(91, 13), "message", b"\xed\xa0\x80"), *entries(99)]
    assert broadcaster._deliver(batch) == len(poisoned) + 2
    assert list(client) == [wire(number) for number in (1, 11, 21, 31, 99)]


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        (),
        (encoded(5, 13), "message"),
        (encoded(5, 13), "message", "str"),
        (encoded(5, 13), b"message", b""),
        (5, "message", b""),
        (encoded(5, 12), "message", b""),
        (encoded(5, 26), "message", b""),
        ("A" * 13, "message", b""),
        ("ä" * 13, "message", b""),
    ],
)
async def test_a_wrong_shape_is_an_error_of_the_engine(entry: Any) -> None:
    broadcaster = told()
    client = join(broadcaster)
    with pytest.raises((TypeError, ValueError)):
        broadcaster._deliver([*entries(1), entry, *entries(9)])
    assert list(client) == [wire(1)]
    with pytest.raises(TypeError, match="must be a list"):
        broadcaster._deliver(tuple(entries(2)))


async def test_a_batch_that_comes_again_is_passed_over() -> None:
    broadcaster = told()
    client = join(broadcaster)
    broadcaster._deliver(entries(1, 2, 5))
    broadcaster._deliver(entries(1, 2, 5, 7))
    broadcaster._deliver(entries(6, 7))
    assert list(client) == [wire(number) for number in (1, 2, 5, 7)]


async def test_a_batch_wakes_a_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    broadcaster = told(buffer_size=0)
    client = join(broadcaster)
    waiter = client.park()
    assert waiter is not None
    calls = []
    soon = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *args, **kw: (calls.append(args), soon(*args, **kw))[1])
    broadcaster._deliver(entries(*range(1, 1001)))
    assert len(calls) == 1
    await waiter
    assert len(list(client)) == 1000
    broadcaster._deliver([])
    assert len(calls) == 1


async def test_a_batch_that_is_larger_than_a_buffer_prunes_nobody_who_reads() -> None:
    broadcaster = told(buffer_size=16)
    client = join(broadcaster)
    got: list[str] = []

    async def read() -> None:
        while (waiter := client.park()) is not None:
            await waiter
            got.extend(client)

    async def background() -> None:  # on a thread that runs a loop, as that of a backplane does
        broadcaster._deliver(entries(*range(1, 2001)))

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    thread = threading.Thread(target=lambda: asyncio.run(background()))
    thread.start()
    async with asyncio.timeout(20):
        while len(got) < 2000 and not task.done():
            await asyncio.sleep(0)
    thread.join()
    assert client.fate is None
    assert broadcaster.stats()["pruned"] == 0
    task.cancel()
    assert got == [wire(number) for number in range(1, 2001)]


async def test_who_does_not_read_is_pruned_as_by_broadcast() -> None:
    broadcaster = told(buffer_size=4)
    client = join(broadcaster)
    broadcaster._deliver(entries(*range(1, 11)))
    assert list(client) == [wire(number) for number in range(1, 5)]
    assert client.fate == "pruned"


def alloc_failures() -> Iterator[int]:
    if not hasattr(_core, "_alloc_fail_after"):
        pytest.skip("a debug build can let allocations fail")
    yield from range(12)


async def test_without_memory_a_batch_can_be_tried_again() -> None:
    for successes in alloc_failures():
        broadcaster = told()
        client = join(broadcaster)
        batch = entries(*range(1, 6))
        _core._alloc_fail_after(successes)
        try:
            broadcaster._deliver(batch)
        except MemoryError:
            pass
        finally:
            _core._alloc_fail_after(-1)
        broadcaster._deliver(batch)
        assert list(client) == [wire(number) for number in range(1, 6)]


# ---- contact, and where the stream is another ----


async def test_at_the_first_contact_all_get_their_first_id() -> None:
    broadcaster = told(epoch=None)
    client = join(broadcaster)
    assert (client.start, client.id) == ("live", None)
    assert broadcaster._deliver(entries(3)) == 0
    assert list(client) == []
    broadcaster._rebase(EPOCH, encoded(3, 13))
    late = join(broadcaster)
    broadcaster._deliver(entries(3, 4))
    assert client.id is None, "the block tells it"
    assert list(client) == [f"id: {EPOCH}-{encoded(3, 13)}\n\n", wire(4)]
    assert late.id == f"{EPOCH}-{encoded(3, 13)}"
    assert list(late) == [wire(4)]


async def test_all_are_told_of_another_epoch_in_its_place_among_the_events() -> None:
    broadcaster = told(history=10)
    client = join(broadcaster)
    broadcaster._deliver(entries(1, 2))
    broadcaster._rebase(OTHER, encoded(1, 13), ("gap", '{"reason":"epoch"}'))
    broadcaster._deliver(entries(2))
    gap = f'event: gap\nid: {OTHER}-{encoded(1, 13)}\ndata: {{"reason":"epoch"}}\n\n'
    assert list(client) == [wire(1), wire(2), gap, wire(2, epoch=OTHER)]
    again = join(broadcaster, id_of(1, epoch=OTHER))
    assert (again.start, list(again)) == ("resumed", [wire(2, epoch=OTHER)])
    assert join(broadcaster, id_of(1)).start == "epoch"


@pytest.mark.parametrize(
    "arguments",
    [
        (EPOCH,),
        (EPOCH[1:], "a" * 13),
        ("A" * 13, "a" * 13),
        (EPOCH, "a" * 12),
        (EPOCH, "a" * 26),
        (EPOCH, 1),
        (EPOCH, "a" * 13, "gap"),
        (EPOCH, "a" * 13, ("gap",)),
        (EPOCH, "a" * 13, ("gap", b"")),
        (EPOCH, "a" * 13, ("g\np", "")),
    ],
)
async def test_a_wrong_epoch_changes_nothing(arguments: Any) -> None:
    broadcaster = told()
    client = join(broadcaster)
    with pytest.raises((TypeError, ValueError)):
        broadcaster._rebase(*arguments)
    broadcaster._deliver(entries(1))
    assert list(client) == [wire(1)]


# ---- places ----


@DIGITS
async def test_an_id_is_found_if_its_position_is_here(digits: int) -> None:
    broadcaster = told(digits, history=4)
    held = (3, 5, 9, 2**33, 2**33 + 2, 2**62)
    broadcaster._deliver(entries(*held, digits=digits))
    for number in (0, 1, 4, 5, 6, 8, 9, 10, 2**33 - 1, 2**33, 2**33 + 1, 2**62 - 1, 2**62, 2**62 + 1):
        client = join(broadcaster, id_of(number, digits))
        if number in held[1:]:
            assert client.start == "resumed"
            assert list(client) == [wire(position, digits) for position in held if position > number]
        else:
            assert (client.start, list(client), client.id, client.park()) == ("behind", [], None, None)
    for strange in (id_of(9, 39 - digits), id_of(9, 5), b"nonsense"):
        assert join(broadcaster, strange).start == "invalid"


async def test_without_a_history_only_the_head_is_here() -> None:
    broadcaster = told()
    broadcaster._deliver(entries(1, 2))
    assert join(broadcaster, id_of(2)).start == "resumed"
    assert join(broadcaster, id_of(1)).start == "behind"
    slow = join(broadcaster)
    broadcaster._deliver(entries(3, 4))
    back = join(broadcaster, id_of(2))
    assert (back.start, list(back)) == ("resumed", [wire(3), wire(4)]), "which somebody else still needs"
    assert list(slow) == [wire(3), wire(4)]


async def test_one_that_is_aside_arrives_at_the_head() -> None:
    broadcaster = told()
    broadcaster._deliver(entries(1, 2, 3))
    client = join(broadcaster, id_of(1))
    assert broadcaster.client_count == 1
    page = [*entries(2), (encoded(3, 13), "a\nb", b""), *entries(4)]
    assert client.replay(EPOCH, page) == [wire(2), wire(4)]
    assert client.replay(EPOCH, page, encoded(3, 13)) == [wire(2)]
    assert (client.events, client.bytes) == (3, 2 * len(wire(2)) + len(wire(4)))
    client.coalesce = True
    assert client.replay(EPOCH, page) == [wire(2) + wire(4)]
    assert client.arrive() == encoded(3, 13)
    broadcaster._deliver(entries(4))
    assert (client.start, list(client)) == ("resumed", [wire(4)])
    stats = broadcaster.stats()
    assert (stats["total"], stats["resumed"]) == (1, 1)
    for call in (client.arrive, lambda: client.judge(id_of(1))):
        with pytest.raises(RuntimeError, match="not aside"):
            call()


async def test_events_of_a_page_share_chunks_of_64_kib_as_live_ones_do() -> None:
    broadcaster = told()
    broadcaster._deliver(entries(100))
    client = join(broadcaster, id_of(0))
    client.coalesce = True
    sizes = (10_000, 40_000, 70_000, 10_000, 65_000, 1, 1)
    page = [(encoded(number, 13), "m", b"x" * size) for number, size in enumerate(sizes, 1)]
    chunks = client.replay(EPOCH, page)
    assert [chunk.count("event: ") for chunk in chunks] == [2, 1, 1, 3]
    client.coalesce = False
    assert "".join(client.replay(EPOCH, page)) == "".join(chunks)
    assert client.replay(EPOCH, []) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((EPOCH, ()), TypeError),
        ((EPOCH, [("x",)]), TypeError),
        (("x", []), ValueError),
        ((EPOCH, [], "x"), ValueError),
        ((EPOCH,), TypeError),
    ],
)
async def test_what_replay_is_given(arguments: Any, error: type[Exception]) -> None:
    broadcaster = told()
    broadcaster._deliver(entries(1))
    client = join(broadcaster, id_of(0))
    with pytest.raises(error):
        client.replay(*arguments)


async def test_one_that_is_aside_is_judged_again() -> None:
    broadcaster = told(history=2)
    broadcaster._deliver(entries(1, 2, 3, 4))
    evicted, future, comes = (join(broadcaster, id_of(number)) for number in (1, 9, 6))
    for client, number in ((evicted, 1), (future, 9), (comes, 6)):
        client.judge(id_of(number))
        assert client.start == "behind"
    evicted.judge(id_of(1), False)
    assert (evicted.start, list(evicted)) == ("evicted", [wire(3), wire(4)])
    future.judge(id_of(9), False)
    assert future.start == "future"
    broadcaster._deliver(entries(5, 6))
    comes.judge(id_of(6))
    assert (comes.start, list(comes)) == ("resumed", [])
    stats = broadcaster.stats()
    assert [stats[name] for name in ("gaps_evicted", "gaps_future", "resumed", "total")] == [1, 1, 1, 3]


async def test_what_ends_those_who_are_aside() -> None:
    broadcaster = told()
    broadcaster._deliver(entries(1))
    told_to, stranded, rebased, closed = (join(broadcaster, id_of(0)) for _ in range(4))
    assert not told_to.is_ending
    told_to.end()
    stranded.strand()
    assert told_to.is_ending and stranded.is_ending and not closed.is_ending
    closed.close()
    assert closed.is_ending
    broadcaster._rebase(OTHER, encoded(0, 13))
    for client in (told_to, stranded, rebased):
        assert client.is_ending
        assert client.arrive() is None
        assert list(client) == []
    assert [client.fate for client in (told_to, stranded, rebased, closed)] == ["finished", "history", "history", None]
    assert broadcaster.client_count == 0
    assert broadcaster.stats()["pruned_by_history"] == 2


def test_nothing_is_left_of_all_this() -> None:
    run_python("""
import asyncio, gc
from fastware_sse import _core
from fastware_sse.backplane import encoded

async def once():
    broadcaster = _core.Broadcaster(strict=False, history=5, position_digits=26)
    outbox = _core.Outbox(100, 1000, lambda: None)
    broadcaster._attach_outbox(outbox)
    for _ in range(70):
        broadcaster.broadcast("m", {"x": "y"})
    broadcaster._rebase("a" * 13, encoded(0, 26), ("gap", "x"))
    loop = asyncio.get_running_loop()
    clients = [broadcaster._subscribe() for _ in range(3)]
    for client, last_id in zip(clients, (None, b"x", b"a" * 13 + b"-" + encoded(99, 26).encode())):
        client.join(loop, last_id)
    page = [(encoded(n, 26), "m\\n" if n % 3 == 0 else "m", b"x\\xff" if n % 5 == 0 else b"x") for n in range(1, 30)]
    broadcaster._deliver(page)
    clients[2].replay("a" * 13, page)
    try:
        broadcaster._deliver([page])
    except TypeError:
        pass

asyncio.run(once())
gc.collect()
assert _core._alloc_live() == 0, _core._alloc_live()
""")
