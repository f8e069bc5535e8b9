"""Wake-ups, slices, heartbeats and the cache of chunks, counted on a loop that notes what it is asked for."""

import asyncio
import contextvars
import gc
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from support import HEARTBEAT, Client, connect, joined, message, open_stream, permissive, request, stuck_client, turns

from fastware_sse import Broadcaster, sse_route
from fastware_sse._core import Subscription


class NotingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.contexts: list[contextvars.Context | None] = []
        self.timers: list[asyncio.TimerHandle] = []
        self.fault: type[BaseException] | None = None

    def _note(self, what: str, callback: Callable[..., Any], context: contextvars.Context | None) -> None:
        if type(getattr(callback, "__self__", None)).__name__ == "Bridge":
            self.asked[what] += 1
            self.contexts.append(context)

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        self._note("call_soon", callback, context)
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        self._note("call_soon_threadsafe", callback, context)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return super().call_soon_threadsafe(callback, *args, context=context)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        self._note("call_later", callback, context)
        handle = super().call_later(delay, callback, *args, context=context)
        self.timers.append(handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        self.asked["create_future"] += 1
        return super().create_future()

    def create_task(self, *args: Any, **keywords: Any) -> asyncio.Task[Any]:
        self.asked["create_task"] += 1
        return super().create_task(*args, **keywords)


loop_factory = NotingLoop  # conftest runs the tests of this file on it


def loop() -> NotingLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, NotingLoop)
    return running


async def connect_many(broadcaster: Broadcaster, number: int) -> list[Client]:
    clients = [Client(await open_stream(broadcaster)) for _ in range(number)]
    await turns()
    assert broadcaster.client_count == number
    return clients


async def end_all(broadcaster: Broadcaster, clients: list[Client]) -> None:
    broadcaster.close()
    for client in clients:
        await client.end()


def bridges() -> int:
    gc.collect()
    return sum(type(thing).__name__ == "Bridge" for thing in gc.get_objects())


# ---- wake-ups ----


async def test_a_thousand_broadcasts_cost_one_wake_up() -> None:
    broadcaster = permissive(0)
    clients = await connect_many(broadcaster, 50)
    for _ in range(2):
        loop().asked.clear()
        for number in range(1000):
            broadcaster.broadcast("message", str(number))
        assert loop().asked["call_soon_threadsafe"] == 1
        assert loop().asked["call_soon"] == 0
        await turns()
    assert [len(client.chunks) for client in clients] == [2000] * 50
    await end_all(broadcaster, clients)


async def test_nobody_parked_nobody_woken() -> None:
    broadcaster = permissive()
    stuck = await stuck_client(broadcaster)
    loop().asked.clear()
    broadcaster.broadcast("message", "x")
    broadcaster.close()
    assert loop().asked["call_soon_threadsafe"] == 0
    await stuck.aclose()


async def test_close_wakes_everybody_with_one_call() -> None:
    broadcaster = permissive()
    clients = await connect_many(broadcaster, 50)
    loop().asked.clear()
    await end_all(broadcaster, clients)
    assert loop().asked["call_soon_threadsafe"] == 1


async def test_the_wake_up_of_each_broadcaster_is_its_own() -> None:
    one, other = permissive(), permissive()
    client, bystander = await connect(one), await connect(other)
    loop().asked.clear()
    one.broadcast("message", "x")
    assert await client.has(1) == [message("x")]
    assert loop().asked["call_soon_threadsafe"] == 1
    assert bystander.chunks == []
    await client.leave()
    await bystander.leave()


# ---- slices ----


async def test_at_most_64_clients_are_woken_before_other_work_gets_its_turn() -> None:
    broadcaster = permissive()
    clients = await connect_many(broadcaster, 300)
    read: list[int] = [0]

    def note() -> None:
        read.append(sum(len(client.chunks) for client in clients))
        if read[-1] < len(clients):
            loop().call_soon(note)

    loop().asked.clear()
    loop().call_soon(note)
    broadcaster.broadcast("message", "x")
    for client in clients:
        await client.has(1)
    await turns()
    steps = [after - before for before, after in zip(read, read[1:], strict=False)]
    assert max(steps) <= 64
    assert sum(steps) == 300
    assert loop().asked["call_soon_threadsafe"] == 1
    await end_all(broadcaster, clients)


async def test_what_is_broadcast_between_two_slices_reaches_everybody_in_order() -> None:
    broadcaster = permissive()
    clients = await connect_many(broadcaster, 200)
    sent = []
    for number in range(20):  # one more in each turn, while the sweep of the first goes on
        broadcaster.broadcast("message", str(number))
        sent.append(message(str(number)))
        await asyncio.sleep(0)
    for client in clients:
        assert await client.has(20) == sent
    await end_all(broadcaster, clients)


async def test_a_client_that_is_woken_may_close_others_that_are_not_yet() -> None:
    """The sweep must not hold on to the next one in its list."""
    broadcaster = permissive()
    subscriptions = [joined(broadcaster) for _ in range(10)]
    woken = []

    async def wait(at: int) -> None:
        await subscriptions[at].park()
        woken.append(at)
        for other in subscriptions[at + 1 :: 2]:
            other.close()
        gc.collect()

    tasks = [asyncio.create_task(wait(at)) for at in range(10)]
    await turns()
    broadcaster.broadcast("message", "x")
    await turns(20)
    assert woken[0] == 0
    assert set(woken) >= {0, 2}
    broadcaster.stats()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for subscription in subscriptions:
        subscription.close()
    assert broadcaster.client_count == 0


# ---- what a parked client costs ----


async def test_at_most_one_future_per_park_and_none_per_event() -> None:
    broadcaster = permissive()
    stream = await stuck_client(broadcaster)
    loop().asked.clear()
    for number in range(100):
        broadcaster.broadcast("message", str(number))
    for number in range(100):
        assert await anext(stream) == message(str(number))
    assert loop().asked["create_future"] == 0
    step = asyncio.ensure_future(anext(stream))
    await turns()
    assert loop().asked["create_future"] <= 1
    assert loop().asked["create_task"] == 1, "the one of this test"
    broadcaster.broadcast("message", "x")
    await step
    await stream.aclose()
    assert loop().asked["create_task"] == 1


async def test_a_park_that_need_not_wait_is_done_at_once() -> None:
    broadcaster = permissive()
    subscription = joined(broadcaster)
    broadcaster.broadcast("message", "x")
    loop().asked.clear()
    await subscription.park()
    assert list(subscription) == [message("x")]
    assert loop().asked["call_soon_threadsafe"] == 0
    subscription.close()


async def test_the_bridge_goes_with_its_last_client() -> None:
    before = bridges()
    broadcaster = permissive(heartbeat_interval=1000)
    clients = await connect_many(broadcaster, 3)
    assert bridges() == before + 1
    broadcaster.broadcast("message", "x")
    for client in clients:
        await client.has(1)
        await client.leave()
    await turns()
    assert bridges() == before, "not even a heartbeat that is not yet due keeps it"


# ---- heartbeats ----


async def test_one_timer_for_any_number_of_clients() -> None:
    broadcaster = permissive(heartbeat_interval=1000)
    clients = await connect_many(broadcaster, 500)
    assert loop().asked["call_later"] == 1
    for number in range(10):
        broadcaster.broadcast("message", str(number))
        for client in clients:
            await client.has(number + 1)
        await turns()
    assert loop().asked["call_later"] == 1, "events set no timers"
    await end_all(broadcaster, clients)
    await turns()
    assert all(timer.cancelled() for timer in loop().timers)


async def test_all_clients_of_one_timer_get_their_heartbeats() -> None:
    broadcaster = permissive(heartbeat_interval=0.03)
    clients = await connect_many(broadcaster, 200)
    loop().asked.clear()
    for client in clients:
        assert (await client.has(2))[:2] == [HEARTBEAT] * 2
    assert loop().asked["call_soon_threadsafe"] == 0
    await end_all(broadcaster, clients)


async def test_each_client_has_an_interval_of_its_own() -> None:
    broadcaster = permissive(heartbeat_interval=0.2)
    first = await connect(broadcaster)
    await asyncio.sleep(0.1)
    begin = time.monotonic()
    second = await connect(broadcaster)
    await first.has(1)
    assert second.chunks == []
    await second.has(1)
    assert time.monotonic() - begin >= 0.19
    await first.leave()
    await second.leave()


async def test_an_interval_of_years_is_no_error() -> None:
    broadcaster = permissive(heartbeat_interval=1e300)
    client = await connect(broadcaster)
    broadcaster.broadcast("message", "x")
    assert await client.has(1) == [message("x")]
    await client.leave()


async def test_an_event_beats_a_heartbeat_that_is_due() -> None:
    broadcaster = permissive(heartbeat_interval=0.01)
    subscription = joined(broadcaster)
    await subscription.park()  # the heartbeat
    broadcaster.broadcast("message", "x")
    assert list(subscription) == [message("x")]
    await subscription.park()
    assert list(subscription) == [HEARTBEAT]
    assert list(subscription) == []
    subscription.close()


async def test_an_event_that_comes_while_the_loop_was_late_leaves_no_heartbeat_behind() -> None:
    broadcaster = permissive(heartbeat_interval=0.05)
    client = await connect(broadcaster)
    time.sleep(0.06)  # the loop is busy beyond the deadline
    begin = time.monotonic()
    broadcaster.broadcast("message", "x")
    assert await client.has(2) == [message("x"), HEARTBEAT]
    assert time.monotonic() - begin >= 0.049
    await client.leave()


# ---- the cache of chunks ----


async def test_readers_at_the_same_place_share_one_object() -> None:
    broadcaster = permissive()
    clients = await connect_many(broadcaster, 200)  # several slices
    late = await stuck_client(broadcaster)
    broadcaster.broadcast("message", "x")
    for client in clients:
        await client.has(1)
    chunks = [client.chunks[0] for client in clients]
    chunks.append(await anext(late))
    assert len({id(chunk) for chunk in chunks[:-1]}) == 1
    assert chunks[-1] == chunks[0]
    await late.aclose()
    await end_all(broadcaster, clients)


async def test_readers_that_share_a_burst_share_the_joined_chunk() -> None:
    broadcaster = permissive()
    clients = [Client((await sse_route(broadcaster)(request())).generator) for _ in range(3)]
    single = await connect(broadcaster)
    for number in range(3):
        broadcaster.broadcast("message", str(number))
    joined = [(await client.has(1))[0] for client in clients]
    assert joined[0] == "".join(await single.has(3))
    assert joined[0] is joined[1] is joined[2]
    await end_all(broadcaster, [*clients, single])


async def test_the_cache_is_emptied_after_the_turn_that_used_it() -> None:
    broadcaster = permissive()
    subscription = joined(broadcaster)
    broadcaster.broadcast("message", "x")
    (chunk,) = subscription
    cached = sys.getrefcount(chunk)
    await turns()
    assert sys.getrefcount(chunk) == cached - 1
    subscription.close()


# ---- contexts ----

REQUEST: contextvars.ContextVar[Any] = contextvars.ContextVar("REQUEST")


async def test_callbacks_run_in_an_empty_context() -> None:
    broadcaster = permissive(heartbeat_interval=0.01)
    REQUEST.set("the request that connects")
    client = await connect(broadcaster)
    REQUEST.set("the request that broadcasts")
    broadcaster.broadcast("message", "x")
    await client.has(3)
    await client.leave()
    assert {"call_soon_threadsafe", "call_soon", "call_later"} <= loop().asked.keys()
    assert [context is not None and len(context) for context in loop().contexts] == [0] * len(loop().contexts)


async def test_a_client_reads_in_its_own_context() -> None:
    broadcaster = permissive()
    seen = []

    async def read() -> None:
        REQUEST.set("mine")
        stream = await open_stream(broadcaster)
        await anext(stream)
        seen.append(REQUEST.get())
        REQUEST.set("changed")
        await anext(stream)
        seen.append(REQUEST.get())
        await stream.aclose()

    task = asyncio.create_task(read())
    await turns()
    REQUEST.set("the publisher's")
    broadcaster.broadcast("message", "1")
    await turns()
    broadcaster.broadcast("message", "2")
    await task
    assert seen == ["mine", "changed"]
    assert REQUEST.get() == "the publisher's"


async def test_a_broadcast_keeps_nothing_of_its_request_alive() -> None:
    class Thing:
        pass

    def handle(thing: Thing) -> weakref.ref[Thing]:
        REQUEST.set(thing)
        broadcaster.broadcast("message", "x")
        return weakref.ref(thing)

    broadcaster = permissive(heartbeat_interval=1000)
    client = await connect(broadcaster)
    alive = contextvars.copy_context().run(handle, Thing())
    gc.collect()
    assert alive() is None
    await client.leave()


# ---- loops that close, and calls that are cut off ----


def leave_parked(broadcaster: Broadcaster, number: int, then: Callable[[], None] = lambda: None) -> list[Any]:
    """Clients parked on a loop that is closed by now. Returns what keeps them alive."""

    async def park() -> list[Any]:
        subscriptions = [joined(broadcaster) for _ in range(number)]
        waiters = [subscription.park() for subscription in subscriptions]
        then()
        return [subscriptions, waiters]

    closing = NotingLoop()
    try:
        return closing.run_until_complete(park())
    finally:
        closing.close()


def test_the_clients_of_a_closed_loop_are_dropped_by_the_next_broadcast() -> None:
    broadcaster = permissive()
    kept = leave_parked(broadcaster, 100)
    assert broadcaster.client_count == 100
    broadcaster.broadcast("message", "x")
    assert broadcaster.client_count == 0
    assert broadcaster.stats()["log_events"] == 0
    del kept


def test_a_loop_that_closed_with_a_wake_up_under_way_is_noticed_within_64_events() -> None:
    broadcaster = permissive(0)
    kept = leave_parked(broadcaster, 100, then=lambda: broadcaster.broadcast("message", "last"))
    for _ in range(64):
        broadcaster.broadcast("message", "x")
    assert broadcaster.client_count == 0
    assert broadcaster.stats()["log_events"] == 0
    del kept


async def test_a_closed_loop_costs_the_clients_of_another_nothing() -> None:
    broadcaster = permissive()
    kept = await asyncio.to_thread(leave_parked, broadcaster, 3)
    client = await connect(broadcaster)
    more = await asyncio.to_thread(leave_parked, broadcaster, 3)
    broadcaster.broadcast("message", "x")
    assert broadcaster.client_count == 1
    assert await client.has(1) == [message("x")]
    await client.leave()
    del kept, more


class Interrupt(BaseException):
    """What a signal handler may raise."""


async def test_an_exception_out_of_the_wake_up_reaches_the_caller_but_no_event_is_lost() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    loop().fault = Interrupt
    with pytest.raises(Interrupt):
        broadcaster.broadcast("message", "1")
    assert await client.has(1) == [message("1")]
    broadcaster.broadcast("message", "2")
    assert await client.has(2) == [message("1"), message("2")]
    await client.leave()


async def test_an_exception_out_of_every_wake_up_delays_the_event_to_the_next_one() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop(), "call_soon_threadsafe", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            broadcaster.broadcast("message", "1")
        with pytest.raises(ZeroDivisionError):
            broadcaster.broadcast("message", "2")
    broadcaster.broadcast("message", "3")
    assert await client.has(3) == [message("1"), message("2"), message("3")]
    await client.leave()


async def test_an_exception_out_of_one_loops_wake_up_costs_the_others_nothing() -> None:
    broadcaster = permissive()
    queue: asyncio.Queue[str] = asyncio.Queue()
    broadcaster._clients.append(queue)
    client = await connect(broadcaster)
    faulty = NotingLoop()

    async def park() -> list[Any]:
        subscription = joined(broadcaster)
        return [subscription, subscription.park()]

    others = [await asyncio.to_thread(faulty.run_until_complete, park()) for _ in range(2)]
    faulty.fault = Interrupt
    with pytest.raises(Interrupt):
        broadcaster.broadcast("message", "x")
    assert queue.get_nowait() == message("x")
    assert await client.has(1) == [message("x")]
    await client.leave()
    faulty.close()
    for subscription, _ in others:
        subscription.close()


async def test_ending_the_streams_of_one_loop_leaves_those_of_others() -> None:
    broadcaster = permissive()
    here = await connect(broadcaster)
    elsewhere = NotingLoop()

    async def join() -> Subscription:
        return joined(broadcaster)

    subscription = await asyncio.to_thread(elsewhere.run_until_complete, join())
    broadcaster.broadcast("message", "owed")
    broadcaster._end_streams(loop())
    assert broadcaster.client_count == 1
    broadcaster.broadcast("message", "too late")
    assert await here.end() == [message("owed")]
    assert list(subscription) == [message("owed"), message("too late")]
    subscription.close()
    elsewhere.close()
    broadcaster._end_streams(loop())  # no clients there: nothing to do
