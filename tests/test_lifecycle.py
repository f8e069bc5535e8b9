"""Birth and death: collection, cycles, closed loops, leaks, the end of the interpreter, a second import."""

import asyncio
import gc
import importlib.util
import itertools
import logging
import sys
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support import (
    Client,
    connect,
    joined,
    message,
    open_stream,
    permissive,
    request,
    run_python,
    stuck_client,
    turns,
)

from fastware_sse import Broadcaster, _core, sse_route


def live() -> int:
    """The bytes that the core holds once all garbage is gone."""
    gc.collect()
    return _core._alloc_live()


# ---- collection ----


async def test_a_broadcaster_goes_when_its_last_stream_has_gone() -> None:
    before = live()
    broadcaster = permissive(heartbeat_interval=1000)
    alive = weakref.ref(broadcaster)
    client, stuck = await connect(broadcaster), await stuck_client(broadcaster)
    broadcaster.broadcast("message", "x")
    del broadcaster
    gc.collect()
    assert await client.has(1) == [message("x")]
    assert alive() is not None, "streams keep it"
    await client.leave()
    await stuck.aclose()
    del client, stuck
    await turns()
    gc.collect()
    assert alive() is None
    assert live() == before


async def test_a_subscription_keeps_its_broadcaster() -> None:
    broadcaster = permissive()
    alive = weakref.ref(broadcaster)
    subscription = joined(broadcaster)
    broadcaster.broadcast("message", "x")
    del broadcaster
    gc.collect()
    assert list(subscription) == [message("x")]
    del subscription
    await turns()
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("graceful_exit", [True, False])
async def test_a_cycle_through_stream_and_broadcaster_is_collected(graceful_exit: bool) -> None:
    before = live()
    broadcaster = permissive(graceful_exit=graceful_exit)
    alive = weakref.ref(broadcaster)
    broadcaster.mine = [await stuck_client(broadcaster), await open_stream(broadcaster), joined(broadcaster)]
    broadcaster.broadcast("message", "x")
    del broadcaster
    gc.collect()
    await turns()  # the loop closes the generator that had begun
    gc.collect()
    await turns()
    assert alive() is None
    assert live() == before


def test_a_cycle_through_the_list_of_queues_is_collected() -> None:
    broadcaster = permissive()
    alive = weakref.ref(broadcaster)
    queue: asyncio.Queue[str] = asyncio.Queue()
    queue.owner = broadcaster
    broadcaster._clients.append(queue)
    del broadcaster, queue
    gc.collect()
    assert alive() is None


def test_a_cycle_through_a_format_of_its_own_is_collected() -> None:
    broadcaster = permissive()
    alive = weakref.ref(broadcaster)
    broadcaster._format_sse = broadcaster._format_sse
    broadcaster.broadcast("message", "x")
    del broadcaster
    gc.collect()
    assert alive() is None


async def test_a_parked_task_that_nobody_holds_may_be_collected() -> None:
    """asyncio keeps weak references to tasks; neither do we keep any."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
    broadcaster = permissive()
    other = await connect(broadcaster)

    async def read() -> None:
        async for _ in await open_stream(broadcaster):
            pass

    asyncio.ensure_future(read())
    await turns()
    gc.collect()
    await turns()
    broadcaster.broadcast("message", "x")
    assert await other.has(1) == [message("x")]
    broadcaster.close()
    await other.end()
    await turns()


async def test_a_stream_that_was_never_iterated_leaves_nothing() -> None:
    broadcaster = permissive()
    before = live()
    for _ in range(10):
        await broadcaster.stream(request())
        await sse_route(broadcaster)(request())
    assert live() == before
    assert broadcaster.client_count == 0


async def test_a_dropped_subscription_leaves_like_a_closed_one() -> None:
    broadcaster = permissive()
    parked, idle = joined(broadcaster), joined(broadcaster)
    parked.park()
    broadcaster.broadcast("message", "x")
    assert broadcaster.stats()["log_events"] == 1
    del parked, idle
    stats = broadcaster.stats()
    assert (stats["connected"], stats["log_events"], stats["log_bytes"]) == (0, 0, 0)


# ---- loops of all kinds ----


def test_clients_of_a_loop_that_was_stopped_go_on_when_it_does() -> None:
    broadcaster = permissive(2)
    with asyncio.Runner() as runner:
        ahead, behind = runner.run(connect(broadcaster)), runner.run(connect(broadcaster))
        for text in "ab":
            broadcaster.broadcast("message", text)
        assert runner.run(ahead.has(2)) == [message("a"), message("b")]
        for text in "cd":
            broadcaster.broadcast("message", text)
        assert broadcaster.client_count == 2
        broadcaster.broadcast("message", "e")  # one more than may wait
        assert broadcaster.client_count == 0
        expected = [message(text) for text in "abcd"]
        assert runner.run(ahead.end()) == runner.run(behind.end()) == expected


# ---- closed loops ----


@pytest.mark.parametrize("action", ["drop", "close", "read", "broadcast", "close the broadcaster"])
def test_subscriptions_may_outlive_their_loop(action: str) -> None:
    before = live()
    broadcaster = permissive()

    async def leave_some(broadcaster: Broadcaster) -> list[Any]:
        parked, behind = joined(broadcaster), joined(broadcaster)
        waiter = parked.park()
        broadcaster.broadcast("message", "x")
        return [parked, behind, waiter]

    parked, behind, waiter = asyncio.run(leave_some(broadcaster))
    if action == "close":
        parked.close()
        behind.close()
        assert broadcaster.client_count == 0
    if action == "read":
        assert list(parked) == list(behind) == [message("x")]
    if action == "broadcast":
        for _ in range(300):
            broadcaster.broadcast("message", "y")
        assert broadcaster.client_count == 0, "dropped, or pruned"
    if action == "close the broadcaster":
        broadcaster.close()
        assert list(behind) == [message("x")]
    broadcaster.stats()
    del broadcaster, parked, behind, waiter
    assert live() == before


def test_a_stream_that_outlived_its_loop_can_be_closed_on_another() -> None:
    broadcaster = permissive()

    async def leave_one() -> Any:
        stream = await stuck_client(broadcaster)
        asyncio.get_running_loop().shutdown_asyncgens = turns  # as a loop that was simply abandoned
        return stream

    stream = asyncio.run(leave_one())
    assert broadcaster.client_count == 1

    async def close() -> None:
        await stream.aclose()

    asyncio.run(close())
    assert broadcaster.client_count == 0


def test_one_broadcaster_serves_one_loop_after_the_other() -> None:
    broadcaster = permissive(heartbeat_interval=1000)

    async def serve() -> None:
        client, stuck = await connect(broadcaster), await stuck_client(broadcaster)
        broadcaster.broadcast("message", "x")
        assert await client.has(1) == [await anext(stuck)] == [message("x")]
        client.task.cancel()

    for _ in range(3):
        asyncio.run(serve())
        assert broadcaster.client_count == 0
    assert broadcaster.stats()["events"] == 3


# ---- leaks ----


async def come_and_go() -> None:
    broadcaster = permissive(heartbeat_interval=1000)
    client, stuck = await connect(broadcaster, [("a", "b")]), await stuck_client(broadcaster)
    broadcaster.broadcast("message", {"a": "h\u00e9"})
    await client.has(2)
    await client.leave()
    await stuck.aclose()


async def be_pruned() -> None:
    broadcaster = permissive(2)
    client, stuck = await connect(broadcaster), await stuck_client(broadcaster)
    broadcaster._clients.append(asyncio.Queue(1))
    for _ in range(4):
        broadcaster.broadcast("message", "x")
    await client.end()
    await stuck.aclose()


async def be_closed() -> None:
    broadcaster = permissive()
    client = Client((await sse_route(broadcaster)(request())).generator)
    own = Client(broadcaster._event_generator(asyncio.Queue()))
    await turns()
    broadcaster.broadcast("message", "x")
    broadcaster.close()
    await client.end()
    await own.end()


async def be_refused() -> None:
    broadcaster = Broadcaster()
    broadcaster.register_event("good")
    attempts: list[Callable[[], Any]] = [
        lambda: broadcaster.broadcast("bad", "x"),
        lambda: broadcaster.broadcast("good", object()),
        lambda: broadcaster.broadcast("good", b"x"),
        lambda: broadcaster.broadcast("good", "\ud800"),
        lambda: broadcaster.broadcast("good"),
        lambda: broadcaster.broadcast("good", "x", data="y"),
        lambda: broadcaster.register_event("bad\n"),
        lambda: broadcaster.register_event(1),
        lambda: broadcaster._format_sse("bad\n", "\u00e9"),
        lambda: broadcaster.__init__("x"),
        lambda: broadcaster.__init__(heartbeat_interval=0),
        lambda: broadcaster.__init__(retry=(2, 1)),
        lambda: Broadcaster(retry=(1, "2")),
        lambda: _core.wire("m", "x", id="\n", retry=1, comment="\u00e9"),
        lambda: _core.wire("m", "x", retry=-1),
        lambda: _core.Chunk("\ud800"),
        lambda: _core.Chunk("x").encode("ascii", "strict", 1),
    ]
    for attempt in attempts:
        with pytest.raises((TypeError, ValueError)):
            attempt()


async def work_without_clients() -> None:
    broadcaster = permissive(retry=1.5)
    broadcaster.register_event("h\u00e9")
    broadcaster.broadcast("h\u00e9", {"a": ["\N{BELL}"]})
    broadcaster._format_sse("m", "x\r\ny")
    _core.wire("m", "x", id="1", retry=1, comment="y")
    chunk = _core.Chunk("h\u00e9")
    assert chunk.encode() + chunk.encode("utf-16") + chunk.encode(errors="ignore")
    assert broadcaster.event_types
    assert broadcaster.client_count == broadcaster.stats()["connected"] == 0


async def override() -> None:
    class Sub(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            return f"data: {data}\n\n"

    broadcaster = Sub(strict=False)
    client = await connect(broadcaster)
    broadcaster.broadcast("m", "x")
    await client.has(1)
    await client.leave()
    gc.collect()


async def beat() -> None:
    broadcaster = permissive(heartbeat_interval=0.0001)
    client = await connect(broadcaster)
    await client.has(1)
    await client.leave()


SCENES = [come_and_go, be_pruned, be_closed, be_refused, work_without_clients, override, beat]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_nothing_leaks(scene: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture) -> None:
    """However often it is played, neither blocks of memory nor references remain."""
    rounds = 60 if scene is override else 500
    caplog.set_level(logging.ERROR, "fastware_sse")  # pytest keeps what is logged

    async def run(times: int) -> tuple[int, int]:
        for _ in range(times):
            await scene()
        await turns()
        gc.collect()  # what has not been collected yet is no leak
        return live(), sys.getallocatedblocks()

    types = [_core.Chunk, _core.Broadcaster, type(permissive()._subscribe()), Broadcaster]
    await run(rounds // 5)
    references = [sys.getrefcount(kind) for kind in types]
    measured = [await run(rounds // 3) for _ in range(4)]
    assert len({held for held, _ in measured}) == 1
    # A leak shows in every stretch; tables of the interpreter and of asyncio that grow do so now and then.
    growth = [after - before for (_, before), (_, after) in itertools.pairwise(measured)]
    assert min(growth) < rounds / 6, "less than one block in two rounds"
    assert [sys.getrefcount(kind) for kind in types] == references


# ---- the end of the interpreter ----

PUBLISHING = """
import asyncio, logging, threading
from fastware_sse import Broadcaster
from fastware.request import Request

logging.getLogger("fastware_sse").setLevel(logging.ERROR)  # that clients are pruned is expected
broadcaster = Broadcaster({buffer_size}, strict=False, heartbeat_interval=0.001)
enough = threading.Event()

count = 0

async def read():
    global count
    async for chunk in (await broadcaster.stream(Request({{"type": "http"}}, {{}}, None))).generator:
        count += 1
        if count == 200:
            enough.set()

async def serve():
    while True:
        await asyncio.gather(*(read() for _ in range(5)))

def publish():
    while True:
        broadcaster.broadcast("message", {{"text": "x" * 100}})

threads = [threading.Thread(target=asyncio.run, args=(serve(),), daemon=True) for _ in range(2)]
threads += [threading.Thread(target=publish, daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
enough.wait()
{end}
"""


@pytest.mark.parametrize("run", range(10))
@pytest.mark.parametrize("end", ["", "broadcaster.close()"], ids=["abandoned", "closed"])
def test_the_interpreter_ends_while_daemon_threads_publish(end: str, run: int) -> None:
    run_python(PUBLISHING.format(end=end, buffer_size=[0, 256, 4][run % 3]))


def test_the_interpreter_ends_with_streams_open_and_destructors_that_broadcast() -> None:
    code = """
import asyncio, atexit
from fastware_sse import Broadcaster
from fastware.request import Request

broadcaster = Broadcaster(strict=False)

class Farewell:
    def __del__(self, broadcast=broadcaster.broadcast):
        broadcast("message", {"text": "at the very end"})

farewell = broadcaster.farewell = Farewell()
cycle = [Farewell()]
cycle.append(cycle)
atexit.register(broadcaster.broadcast, "message", "at exit")

async def read():
    async for chunk in (await broadcaster.stream(Request({"type": "http"}, {}, None))).generator:
        pass

async def begin():
    subscription = broadcaster._subscribe()
    subscription.join(asyncio.get_running_loop())
    return subscription, subscription.park()

loop = asyncio.new_event_loop()
kept = loop.run_until_complete(begin())
broadcaster.broadcast("message", "nobody will read it")
"""
    run_python(code)


def test_the_interpreter_ends_from_within_a_stream() -> None:
    code = """
import asyncio, sys
from fastware_sse import Broadcaster
from fastware.request import Request

broadcaster = Broadcaster(strict=False)

async def read():
    async for chunk in (await broadcaster.stream(Request({"type": "http"}, {}, None))).generator:
        sys.exit(7)

async def main():
    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    broadcaster.broadcast("message", "x")
    await task

asyncio.run(main())
"""
    done = run_python(code, ok=False)
    assert (done.returncode, done.stderr) == (7, "")


# ---- a second import, another interpreter ----


def second_core() -> Any:
    """Another instance of the C module, with types and state of its own."""
    spec = importlib.util.spec_from_file_location("fastware_sse._core", _core.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_a_second_instance_of_the_module_stands_apart_and_can_be_collected() -> None:
    for _ in range(3):
        second = second_core()
        assert second.Broadcaster is not _core.Broadcaster
        broadcaster = second.Broadcaster(strict=False)
        subscription = broadcaster._subscribe()
        subscription.join(asyncio.get_running_loop())
        broadcaster.broadcast("message", "x")
        (chunk,) = subscription
        assert chunk == message("x")
        assert type(chunk) is second.Chunk
        alive = weakref.ref(second)
        del second, broadcaster, subscription, chunk
        await turns()
        gc.collect()
        assert alive() is None


async def test_instances_of_a_module_outlive_it() -> None:
    broadcaster = second_core().Broadcaster(strict=False)
    gc.collect()
    subscription = broadcaster._subscribe()
    subscription.join(asyncio.get_running_loop())
    broadcaster.broadcast("message", {"a": 1})
    assert list(subscription) == [message('{"a":1}')]
    waiter = subscription.park()
    broadcaster.close()
    await waiter


def test_a_second_import_works_beside_the_first() -> None:
    code = """
import sys
import fastware_sse as first
for name in [name for name in sys.modules if name.startswith("fastware_sse")]:
    del sys.modules[name]
import fastware_sse as second
assert first.Broadcaster is not second.Broadcaster
for module in (first, second):
    broadcaster = module.Broadcaster(strict=False)
    broadcaster.broadcast("message", {"a": 1})
"""
    run_python(code)


async def test_a_broadcaster_keeps_the_tasks_of_its_parked_clients() -> None:
    broadcaster = permissive()
    chunks: list[str] = []

    async def read() -> None:
        async for chunk in await open_stream(broadcaster):
            chunks.append(chunk)

    for _ in range(5):
        asyncio.create_task(read())  # nobody else holds it
    await turns()
    gc.collect()
    await turns()
    broadcaster.broadcast("message", "x")
    await turns()
    assert chunks == [message("x")] * 5
    broadcaster.close()
    await turns()
