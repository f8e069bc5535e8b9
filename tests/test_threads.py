"""broadcast() from wherever Python can be running: threads, signal handlers, destructors, callbacks of all kinds."""

import asyncio
import gc
import logging
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from support import Client, connect, message, open_stream, permissive, request, stuck_client, turns

from fastware_sse import Broadcaster, sse_route


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class LoopThread:
    """An event loop that runs in a thread of its own, with clients."""

    def __init__(self, broadcaster: Broadcaster, singles: int, routes: int) -> None:
        self.received: list[list[str]] = []
        self.fault: BaseException | None = None
        self._parked = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(broadcaster, singles, routes))
        self._thread.start()
        self._parked.wait()

    def _run(self, *arguments: Any) -> None:
        try:
            asyncio.run(self._main(*arguments))
        except BaseException as fault:
            self.fault = fault
            self._parked.set()

    async def _main(self, broadcaster: Broadcaster, singles: int, routes: int) -> None:
        clients = [await connect(broadcaster) for _ in range(singles)]
        handler = sse_route(broadcaster)
        clients += [Client((await handler(request())).generator) for _ in range(routes)]
        await turns()
        self._parked.set()
        for client in clients:
            self.received.append("".join(await client.end()).split("\n\n"))

    def join(self) -> list[list[str]]:
        self._thread.join()
        if self.fault is not None:
            raise self.fault
        return self.received


def publish_from_threads(broadcaster: Broadcaster, threads: int, events: int) -> None:
    start = threading.Barrier(threads)

    def publish(name: int) -> None:
        start.wait()
        for number in range(events):
            broadcaster.broadcast("message", f"{name}:{number}")

    publishers = [threading.Thread(target=publish, args=(name,)) for name in range(threads)]
    for thread in publishers:
        thread.start()
    for thread in publishers:
        thread.join()


# ---- threads ----


@pytest.mark.usefixtures("hasty")
def test_eight_threads_publish_to_clients_on_three_loops() -> None:
    broadcaster = permissive(0)
    loops = [LoopThread(broadcaster, singles=5, routes=3) for _ in range(3)]
    assert broadcaster.client_count == 24
    publish_from_threads(broadcaster, threads=8, events=400)
    broadcaster.close()
    first, *others = [received for loop in loops for received in loop.join()]
    assert len(first) == 8 * 400 + 1, "no loss"
    for name in range(8):
        mine = [text for text in first if text.startswith(f"event: message\ndata: {name}:")]
        assert mine == [f"event: message\ndata: {name}:{number}" for number in range(400)]
    for other in others:
        assert other == first, "one order for all"
    assert broadcaster.stats()["log_events"] == 0


@pytest.mark.usefixtures("hasty")
def test_clients_that_fall_behind_see_a_run_without_a_gap() -> None:
    broadcaster = permissive(64)
    loops = [LoopThread(broadcaster, singles=5, routes=3) for _ in range(3)]
    order: asyncio.Queue[str] = asyncio.Queue()
    lock = threading.Lock()

    start = threading.Barrier(8)

    def publish(name: int) -> None:
        start.wait()
        for number in range(300):
            with lock:  # so that the order is known
                broadcaster.broadcast("message", f"{name}:{number}")
                order.put_nowait(f"event: message\ndata: {name}:{number}")

    publishers = [threading.Thread(target=publish, args=(name,)) for name in range(8)]
    for thread in publishers:
        thread.start()
    for thread in publishers:
        thread.join()
    broadcaster.close()
    sent = [order.get_nowait() for _ in range(order.qsize())]
    for loop in loops:
        for received in loop.join():
            *texts, rest = received
            assert rest == ""
            assert texts == sent[: len(texts)], "from the first event on, until it was pruned"
            assert len(texts) >= 64
    assert broadcaster.stats()["log_events"] == 0


@pytest.mark.usefixtures("hasty")
def test_close_from_a_thread_while_others_publish() -> None:
    broadcaster = permissive(0)
    loops = [LoopThread(broadcaster, singles=3, routes=2) for _ in range(2)]
    closer = threading.Thread(target=broadcaster.close)
    publisher = threading.Thread(target=publish_from_threads, args=(broadcaster, 3, 500))
    publisher.start()
    closer.start()
    closer.join()
    first, *others = [received for loop in loops for received in loop.join()]
    publisher.join()
    assert all(other == first for other in others), "all end at the same event"
    assert broadcaster.client_count == 0
    assert broadcaster.stats()["events"] == len(first) - 1


@pytest.mark.usefixtures("hasty")
async def test_close_from_a_thread_ends_parked_streams_of_every_kind() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    own = Client(broadcaster._event_generator(asyncio.Queue()))
    await turns()
    thread = threading.Thread(target=broadcaster.close)
    thread.start()
    assert await client.end() == await own.end() == []
    thread.join()


@pytest.mark.usefixtures("hasty")
def test_clients_come_and_go_on_two_loops_while_threads_publish() -> None:
    broadcaster = permissive(0)
    stop = threading.Event()
    faults: list[BaseException] = []

    async def come_and_go() -> None:
        while not stop.is_set():
            clients = [await connect(broadcaster) for _ in range(5)]
            for client in clients:
                numbers = [int(chunk.split(":")[-1]) for chunk in client.chunks]
                assert all(after == before + 1 for before, after in pairwise(numbers)), "no gap"
                await client.leave()

    def run() -> None:
        try:
            asyncio.run(come_and_go())
        except BaseException as fault:
            faults.append(fault)

    loops = [threading.Thread(target=run) for _ in range(2)]
    for thread in loops:
        thread.start()
    for number in range(3000):
        broadcaster.broadcast("message", f"{number}")
        broadcaster.stats()  # checks the hub
    stop.set()
    for thread in loops:
        thread.join()
    assert faults == []
    counts = broadcaster.stats()
    assert (counts["connected"], counts["log_events"]) == (0, 0)


# ---- places where Python may run that are no thread of their own ----


@contextmanager
def handling(number: int, handler: Callable[..., None]) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


async def test_from_a_signal_handler_while_the_loop_sleeps() -> None:
    broadcaster = permissive(graceful_exit=False)
    client = await connect(broadcaster)
    arrived = threading.Event()

    def interrupt() -> None:
        # A signal that comes just before the loop goes to sleep is handled when it wakes, and not earlier: Python
        # offers no way to interrupt exactly a sleeping thread. So one more, until one has come while it slept.
        while not arrived.wait(0.005):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    with handling(signal.SIGUSR1, lambda *_: broadcaster.broadcast("message", "signalled")):
        thread = threading.Thread(target=interrupt)
        thread.start()
        assert set(await client.has(3)) == {message("signalled")}
        arrived.set()
        thread.join()
    await client.leave()


async def test_from_a_signal_handler_that_interrupts_broadcasts() -> None:
    broadcaster = permissive(0)
    client = await connect(broadcaster)
    interrupted = 0

    def handler(*_: Any) -> None:
        nonlocal interrupted
        interrupted += 1
        broadcaster.broadcast("signal", str(interrupted))

    with handling(signal.SIGUSR1, handler):
        for number in range(2000):
            if number % 20 == 0:
                signal.raise_signal(signal.SIGUSR1)
            broadcaster.broadcast("message", str(number))
    broadcaster.close()
    chunks = await client.end()
    assert [chunk for chunk in chunks if "signal" in chunk] == [
        message(str(number + 1), "signal") for number in range(interrupted)
    ]
    assert [chunk for chunk in chunks if "message" in chunk] == [message(str(number)) for number in range(2000)]
    assert interrupted == 100


class Farewell:
    """Broadcasts when it is destroyed."""

    def __init__(self, broadcaster: Broadcaster, text: str = "destroyed") -> None:
        self.broadcaster = broadcaster
        self.text = text

    def __del__(self) -> None:
        self.broadcaster.broadcast("message", self.text)


async def test_from_a_destructor() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    Farewell(broadcaster)
    assert await client.has(1) == [message("destroyed")]
    await client.leave()


async def test_from_a_destructor_that_the_collector_calls() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    cycle = [Farewell(broadcaster)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert await client.has(1) == [message("destroyed")]
    await client.leave()


async def test_from_a_destructor_that_runs_inside_broadcast() -> None:
    """The payload that is encoded, and the list of queues, go away while we are at work."""
    broadcaster = permissive()
    client = await connect(broadcaster)

    class Queue(asyncio.Queue):
        def put_nowait(self, item: str) -> None:
            self.farewell = None
            super().put_nowait(item)

    queue = Queue()
    queue.farewell = Farewell(broadcaster, "inner")
    broadcaster._clients.append(queue)
    broadcaster.broadcast("message", "outer")
    assert await client.has(2) == [message("outer"), message("inner")]
    assert queue.qsize() == 2
    await client.leave()


async def test_from_a_destructor_that_runs_as_a_client_leaves() -> None:
    broadcaster = permissive()
    other = await connect(broadcaster)

    async def read() -> None:
        farewell = Farewell(broadcaster)  # dies with the frame of this coroutine
        async for _ in await open_stream(broadcaster):
            assert farewell

    task = asyncio.create_task(read())
    await turns()
    task.cancel()
    del task
    assert await other.has(1) == [message("destroyed")]
    await other.leave()


@pytest.mark.parametrize("inside_of_a_sweep", [True, False])
async def test_from_the_cleanup_of_other_clients(inside_of_a_sweep: bool) -> None:
    broadcaster = permissive(0)
    left: list[str] = []

    async def read(name: str) -> None:
        try:
            async for _ in await open_stream(broadcaster):
                break
        finally:
            left.append(name)
            broadcaster.broadcast("left", name)

    staying = [await connect(broadcaster)]
    leaving = [asyncio.create_task(read(str(number))) for number in range(100)]
    await turns()
    staying.append(await connect(broadcaster))
    if inside_of_a_sweep:
        broadcaster.broadcast("message", "go")
    else:
        for task in leaving:
            task.cancel()
    await asyncio.wait(leaving)
    broadcaster.close()
    assert sorted(left, key=int) == [str(number) for number in range(100)]
    for client in staying:
        assert await client.end() == [message("go")] * inside_of_a_sweep + [message(name, "left") for name in left]


async def test_from_the_cleanup_of_clients_whose_loop_is_closed() -> None:
    """The broadcast that notices it drops them, and their cleanup runs when they are collected."""
    broadcaster = permissive()
    staying = await connect(broadcaster)
    left: list[str] = []

    async def read(name: str) -> None:
        try:
            async for _ in await open_stream(broadcaster):
                pass
        finally:
            left.append(name)
            broadcaster.broadcast("left", name)

    def leave_some() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
        for number in range(5):
            loop.create_task(read(str(number)))
        loop.run_until_complete(turns())
        loop.close()

    await asyncio.to_thread(leave_some)
    assert broadcaster.client_count == 6
    broadcaster.broadcast("message", "go")
    assert broadcaster.client_count == 1
    gc.collect()
    assert sorted(left) == ["0", "1", "2", "3", "4"]
    broadcaster.close()
    assert await staying.end() == [message("go")] + [message(name, "left") for name in left]


async def test_from_a_done_callback() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    task = asyncio.create_task(asyncio.sleep(0))
    task.add_done_callback(lambda _: broadcaster.broadcast("message", "done"))
    assert await client.has(1) == [message("done")]
    client.task.add_done_callback(lambda _: broadcaster.broadcast("message", "gone"))
    other = await connect(broadcaster)
    await client.leave()
    assert await other.has(1) == [message("gone")]
    await other.leave()


async def test_from_a_weakref_callback() -> None:
    class Thing:
        pass

    broadcaster = permissive()
    client = await connect(broadcaster)
    thing = Thing()
    alive = weakref.ref(thing, lambda _: broadcaster.broadcast("message", "collected"))
    del thing
    assert alive() is None
    assert await client.has(1) == [message("collected")]
    await client.leave()


async def test_from_a_callback_of_the_collector() -> None:
    broadcaster = permissive(0)
    client = await connect(broadcaster)

    def callback(phase: str, _: Any) -> None:
        broadcaster.broadcast("gc", phase)

    gc.callbacks.append(callback)
    threshold = gc.get_threshold()
    gc.set_threshold(2)  # so that collections run inside our own allocations too
    try:
        for number in range(200):
            broadcaster.broadcast("message", {"number": [number]})
            if number % 10 == 0:
                await turns()
            await (await stuck_client(broadcaster)).aclose()
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(callback)
    broadcaster.close()
    chunks = await client.end()
    assert [chunk for chunk in chunks if "message" in chunk] == [
        message(f'{{"number":[{number}]}}') for number in range(200)
    ]
    assert message("start", "gc") in chunks


async def test_from_a_handler_of_our_own_log() -> None:
    broadcaster = permissive(2)
    stuck = await stuck_client(broadcaster)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            broadcaster.broadcast("log", record.levelname)

    log = logging.getLogger("fastware_sse")
    handler = Handler()
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        broadcaster.broadcast("message", "1")
        broadcaster.broadcast("message", "2")
        client = await connect(broadcaster)
        broadcaster.broadcast("message", "3")  # prunes the stuck one
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
    assert await client.has(2) == [message("3"), message("DEBUG", "log")]
    assert [chunk async for chunk in stuck] == [message("1"), message("2")]
    await client.leave()


async def test_a_log_handler_that_raises_does_not_undo_the_broadcast() -> None:
    broadcaster = permissive(1)
    stuck = await stuck_client(broadcaster)
    client = await connect(broadcaster)

    class Failing(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise ZeroDivisionError

    log, failing = logging.getLogger("fastware_sse"), Failing()
    log.addFilter(failing)
    log.setLevel(logging.DEBUG)
    try:
        broadcaster.broadcast("message", "1")
        await client.has(1)
        with pytest.raises(ZeroDivisionError):
            broadcaster.broadcast("message", "2")
    finally:
        log.removeFilter(failing)
        log.setLevel(logging.NOTSET)
    assert await client.has(2) == [message("1"), message("2")]
    assert [chunk async for chunk in stuck] == [message("1")]
    await client.leave()
