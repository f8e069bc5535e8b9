"""max_age: streams end before they are too old, a few at a time, and their clients go on where they were."""

import asyncio
import gc
import itertools
import random
import weakref
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from exchange import Exchange, until
from resuming import Id, come, got, publish
from support import Client, connect, open_stream, permissive, turns

from fastware_sse import Broadcaster, _age
from fastware_sse.asgi import EventStream

AGE = 100.0


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock the test moves on, and that counts the timers asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0
        self.timers = 0

    def time(self) -> float:
        return super().time() + self.skipped

    def call_at(self, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(*arguments, **options)


loop_factory = Loop


def clock() -> Loop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    return loop


async def skip(seconds: float) -> None:
    clock().skipped += seconds
    await turns(16)


def pending() -> int:
    """Timers of the age that the loop still has to call."""
    return sum(handle._callback.__name__ == "_tick" for handle in clock()._scheduled if not handle.cancelled())


async def test_each_stream_ends_in_the_last_tenth_of_its_age() -> None:
    broadcaster = permissive(max_age=AGE)
    clients = [await connect(broadcaster) for _ in range(200)]
    await skip(AGE * 0.9 - 1)
    assert broadcaster.client_count == 200
    counts = []
    for _ in range(11):
        await skip(AGE / 100)
        counts.append(broadcaster.client_count)
    assert counts[-1] == 0
    lost = [earlier - later for earlier, later in itertools.pairwise([200, *counts])]
    assert max(lost) < 60, "they do not all come back at once"
    for client in clients:
        assert await client.end() == []


async def test_a_stream_that_ends_by_age_has_sent_all_and_ends_cleanly() -> None:
    broadcaster = permissive(max_age=AGE)
    exchange = await come(broadcaster)
    publish(broadcaster, 1)
    clock().skipped += AGE
    publish(broadcaster, 2)
    await exchange.end()
    assert exchange.complete
    assert got(exchange.text.encode()).texts == ["1", "2"]


async def test_no_age_no_timer() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    assert pending() == 0
    await skip(1e9)
    assert broadcaster.client_count == 1
    await client.leave()


async def test_one_timer_for_each_loop_whatever_the_number_of_streams() -> None:
    broadcasters = [permissive(max_age=age) for age in (AGE, 2 * AGE)]
    before = clock().timers
    clients = [await connect(broadcaster) for broadcaster in broadcasters for _ in range(300)]
    assert pending() == 1
    # One more for each stream that is due before all others: ln 300 or so of those that come one after the other.
    assert clock().timers - before < 40
    for client in clients:
        await client.leave()


async def test_the_timer_goes_with_the_last_stream() -> None:
    broadcaster = permissive(max_age=AGE)
    clients = [await connect(broadcaster) for _ in range(5)]
    assert pending() == 1
    for client in clients:
        await client.leave()
    assert pending() == 0


async def test_streams_that_come_and_go_leave_nothing_behind() -> None:
    broadcaster = permissive(max_age=AGE)
    staying = [await connect(broadcaster) for _ in range(10)]
    ages = _age.ages_of(clock())
    for _ in range(1000):
        client = await connect(broadcaster)
        await client.leave()
        assert len(ages._heap) <= 2 * len(staying) + 2
        assert pending() == 1
    await skip(AGE)
    assert broadcaster.client_count == 0
    assert (ages._heap, pending()) == ([], 0)
    for client in staying:
        await client.end()


async def test_a_stream_that_has_left_is_not_kept() -> None:
    broadcaster = permissive(max_age=AGE)
    alive = weakref.ref(broadcaster)
    staying = await connect(permissive(max_age=AGE))
    client = await connect(broadcaster)
    await client.leave()
    del broadcaster, client
    await turns()
    gc.collect()
    assert alive() is None
    await staying.leave()


def test_a_loop_that_is_closed_under_its_streams_is_not_kept() -> None:
    async def begin() -> Any:
        stream = await open_stream(permissive(max_age=AGE, graceful_exit=False), [("hello", "")])
        await anext(stream)
        return stream

    loop = Loop()
    stream = loop.run_until_complete(begin())
    loop.close()
    alive = weakref.ref(loop)
    del loop, stream
    gc.collect()
    assert alive() is None


async def test_so_many_end_in_one_turn_and_the_others_in_the_next() -> None:
    broadcaster = permissive(max_age=AGE)
    clients = [await connect(broadcaster) for _ in range(200)]
    clock().skipped += AGE
    counts = []
    while broadcaster.client_count:
        await asyncio.sleep(0)
        counts.append(broadcaster.client_count)
    lost = [earlier - later for earlier, later in itertools.pairwise([200, *counts])]
    assert max(lost) <= 64
    for client in clients:
        await client.end()


async def test_one_whose_end_fails_keeps_the_others_from_nothing() -> None:
    class Failing:
        def expire(self) -> None:
            raise MemoryError

    told: list[dict[str, Any]] = []
    clock().set_exception_handler(lambda _, context: told.append(context))
    ages = _age.ages_of(clock())
    ages.enter(Failing(), AGE / 2)
    broadcaster = permissive(max_age=AGE)
    clients = [await connect(broadcaster) for _ in range(3)]
    await skip(AGE)
    assert broadcaster.client_count == 0
    assert [type(context["exception"]) for context in told] == [MemoryError]
    for client in clients:
        await client.end()


async def test_a_client_that_comes_back_at_its_age_misses_nothing() -> None:
    broadcaster = permissive(max_age=AGE, history=10_000, retry=1)
    dice = random.Random(3)
    last_id, texts, number, lives = "", [], 0, 0
    while lives < 20:
        client = await come(broadcaster, last_id or None)
        while not client.task.done():
            for _ in range(dice.randrange(20)):
                number += 1
                publish(broadcaster, number)
            await skip(AGE / 30)
        await client.end()
        seen = got(client.text.encode(), last_id)
        assert client.complete and seen.gaps == []
        texts += seen.texts
        last_id = seen.last_id
        lives += 1
        number += 1
        publish(broadcaster, number)  # while it is away
    assert texts == [str(n) for n in range(1, Id.parse(last_id).position + 1)]
    assert broadcaster.stats()["resumed"] == 19


@pytest.mark.parametrize("way", ["stream", "EventStream"])
async def test_a_stream_that_is_being_sent_ends_when_that_is_done(way: str) -> None:
    broadcaster = permissive(max_age=AGE)
    if way == "stream":
        stream = await open_stream(broadcaster, [("hello", "")])
        await anext(stream)
        publish(broadcaster, 1)
        await skip(AGE)
        publish(broadcaster, 2)  # after its end
        assert [chunk async for chunk in stream] == ["event: message\ndata: 1\n\n"]
    else:
        exchange = Exchange(EventStream(broadcaster, send_timeout=None), allowed=2)
        await turns(8)
        publish(broadcaster, 1)
        await until(lambda: exchange.blocked == 1)
        await skip(AGE)
        assert not exchange.task.done()
        assert broadcaster.client_count == 0
        exchange.leave()
        await exchange.end()


async def test_a_stream_of_a_closed_or_pruned_client_has_no_age_left() -> None:
    broadcaster = permissive(1, max_age=AGE)
    pruned, closed = await connect(broadcaster), await connect(broadcaster)
    publish(broadcaster, 1, 2)
    await pruned.end()
    broadcaster.close()
    await closed.end()
    assert pending() == 0
    await skip(AGE)


async def test_a_subclass_that_forgets_init_has_no_age() -> None:
    class Mine(Broadcaster):
        def __init__(self) -> None:
            pass

    client = Client(await open_stream(Mine()))
    await turns()
    assert pending() == 0
    await client.leave()


@pytest.mark.parametrize(
    ("error", "age"),
    [
        (TypeError, "60"),
        (TypeError, True),
        (TypeError, (1, 2)),
        (TypeError, 1j),
        (ValueError, 0),
        (ValueError, 0.9),
        (ValueError, -60),
        (ValueError, float("nan")),
        (ValueError, float("inf")),
        (ValueError, 10**400),
        (ValueError, 10_000_001),
    ],
)
def test_wrong_ages_are_refused_by_name(error: type[Exception], age: Any) -> None:
    with pytest.raises(error, match="^max_age must be"):
        Broadcaster(max_age=age)


@pytest.mark.parametrize("age", [1, 1.5, 10_000_000, Decimal("1.5"), Fraction(3, 2), None])
def test_ages_that_are_accepted(age: Any) -> None:
    kept = Broadcaster(max_age=age)._max_age
    assert kept == age and type(kept) in (float, type(None))
