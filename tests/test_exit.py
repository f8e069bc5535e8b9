"""Graceful exit: when the signal handlers are put in place and taken away, and what they do in between.

Whole servers are stopped in tests/e2e; here a signal comes to a bare event loop.
"""

import asyncio
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from support import Client, connect, message, open_stream, permissive, request, run_python, stuck_client, turns

from fastware_sse import Broadcaster

BOTH = [signal.SIGINT, signal.SIGTERM]


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in BOTH]


@pytest.fixture(autouse=True)
def before() -> Iterator[list[Any]]:
    """Handlers of our own, and a check that each test leaves them as they were."""
    saved = handlers()
    ours = [lambda *_: None for _ in BOTH]
    for number, handler in zip(BOTH, ours, strict=True):
        signal.signal(number, handler)
    yield ours
    after = handlers()
    for number, handler in zip(BOTH, saved, strict=True):
        signal.signal(number, handler)
    assert after == ours


# ---- arming ----


async def test_armed_by_the_first_stream_and_put_back_by_the_last(before: list[Any]) -> None:
    broadcaster, second = permissive(), permissive()
    stream = await open_stream(broadcaster)
    armed = handlers()  # before its first step: the head may be out
    client = Client(stream)
    await turns()
    assert handlers() == armed
    assert all(mine is not other for mine, other in zip(armed, before, strict=True))
    others = [await stuck_client(broadcaster), await stuck_client(second)]
    own = Client(broadcaster._event_generator(asyncio.Queue()))
    await turns()
    assert handlers() == armed, "one handler serves all streams of the loop"
    await client.leave()
    for other in others:
        assert handlers() == armed
        await other.aclose()
    assert handlers() == armed
    await own.leave()
    assert handlers() == before


async def test_put_back_when_a_stream_that_never_began_is_collected(before: list[Any]) -> None:
    stream = await open_stream(permissive())
    assert handlers() != before
    del stream
    assert handlers() == before


async def test_a_signal_before_the_first_step_ends_the_stream() -> None:
    stream = await open_stream(permissive(), [("hello", "")])
    signal.raise_signal(signal.SIGTERM)
    await turns()
    assert [chunk async for chunk in stream] == [message("", "hello")]


async def test_armed_anew_by_the_next_stream(before: list[Any]) -> None:
    broadcaster = permissive()
    for _ in range(3):
        client = await connect(broadcaster)
        assert handlers() != before
        await client.leave()
        assert handlers() == before


async def test_not_armed_with_graceful_exit_off(before: list[Any]) -> None:
    broadcaster = permissive(graceful_exit=False)
    assert broadcaster._graceful_exit is False
    assert permissive()._graceful_exit is True
    client, own = await connect(broadcaster), Client(broadcaster._event_generator(asyncio.Queue()))
    await turns()
    assert handlers() == before
    await own.leave()
    signal.raise_signal(signal.SIGTERM)
    broadcaster.broadcast("message", "x")
    assert await client.has(1) == [message("x")]
    await client.leave()


def test_not_armed_off_the_main_thread(before: list[Any]) -> None:
    found: list[Any] = []

    async def main() -> None:
        broadcaster = permissive()
        client = await connect(broadcaster)
        found.extend(handlers())
        await client.leave()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join()
    assert found == before


async def test_not_armed_by_head_or_after_close(before: list[Any]) -> None:
    broadcaster = permissive()
    broadcaster.close()
    assert [chunk async for chunk in await open_stream(broadcaster)] == []
    assert handlers() == before


async def test_a_broadcaster_that_cannot_be_hashed_is_watched_like_any_other() -> None:
    class Comparing(Broadcaster):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None

    one, two = Comparing(strict=False), Comparing(strict=False)
    clients = [await connect(one), await connect(two)]
    signal.raise_signal(signal.SIGTERM)
    for client in clients:
        assert await client.end() == []


# ---- the signal ----


@pytest.mark.parametrize("number", BOTH)
async def test_a_signal_ends_the_streams_and_then_does_what_it_did_before(number: int) -> None:
    calls: list[Any] = []
    before = signal.signal(number, lambda *arguments: calls.append(arguments))
    broadcaster, second = permissive(), permissive()
    clients = [await connect(broadcaster), await connect(second)]
    stuck = await stuck_client(broadcaster)
    broadcaster.broadcast("message", "owed")
    signal.raise_signal(number)
    assert [call[0] for call in calls] == [number]
    assert await clients[0].end() == [message("owed")]
    assert await clients[1].end() == []
    assert broadcaster.client_count == 0
    broadcaster.broadcast("message", "too late")
    assert [chunk async for chunk in stuck] == [message("owed")]
    assert len(calls) == 1
    signal.signal(number, before)


async def test_a_signal_ends_the_streams_of_queues_too() -> None:
    broadcaster = permissive()
    parked = Client(broadcaster._event_generator(asyncio.Queue()))
    behind = broadcaster._event_generator(asyncio.Queue(), [("hello", "")])
    await anext(behind)
    await turns()
    broadcaster.broadcast("message", "owed")
    signal.raise_signal(signal.SIGTERM)
    assert await parked.end() == [message("owed")]
    broadcaster.broadcast("message", "too late")
    assert [chunk async for chunk in behind] == [message("owed")]
    assert broadcaster._clients == []


async def test_a_signal_ends_the_streams_of_an_overridden_event_generator() -> None:
    class Sub(Broadcaster):
        async def _event_generator(self, queue: asyncio.Queue[str]) -> AsyncGenerator[str, None]:
            async for chunk in super()._event_generator(queue):
                yield chunk.upper()

    broadcaster = Sub(strict=False)
    client = await connect(broadcaster)
    broadcaster.broadcast("message", "owed")
    signal.raise_signal(signal.SIGTERM)
    assert await client.end() == [message("owed").upper()]


async def test_a_second_signal_changes_nothing() -> None:
    calls: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: calls.append(number))
    broadcaster = permissive()
    client = await connect(broadcaster)
    for _ in range(3):
        signal.raise_signal(signal.SIGINT)
    assert await client.end() == []
    assert calls == [signal.SIGINT] * 3, "the handler before ours hears of each"
    signal.signal(signal.SIGINT, before)


async def test_what_the_handler_before_ours_raises_is_passed_on() -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    broadcaster = permissive()
    client = await connect(broadcaster)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert await client.end() == []
    signal.signal(signal.SIGINT, before)


async def test_an_ignored_signal_ends_the_streams_and_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    broadcaster = permissive()
    client = await connect(broadcaster)
    signal.raise_signal(signal.SIGTERM)
    assert await client.end() == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, before)


async def test_a_stream_that_begins_after_the_signal_ends_at_once() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    prepared = await open_stream(broadcaster)
    signal.raise_signal(signal.SIGTERM)
    assert await client.end() == []
    assert [chunk async for chunk in prepared] == []
    assert [chunk async for chunk in await open_stream(permissive())] == [], "of any Broadcaster"


async def test_a_stream_of_a_queue_that_begins_after_the_signal_ends_at_once() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    signal.raise_signal(signal.SIGTERM)
    assert await client.end() == []
    assert [chunk async for chunk in broadcaster._event_generator(asyncio.Queue())] == []
    assert broadcaster._clients == []


async def test_streams_on_the_loops_of_other_threads_go_on() -> None:
    broadcaster = permissive()
    begun, received = threading.Event(), []

    async def elsewhere() -> None:
        client = await connect(broadcaster)
        begun.set()
        received.extend(await client.end())

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    await asyncio.to_thread(begun.wait)
    client = await connect(broadcaster)
    signal.raise_signal(signal.SIGTERM)
    assert await client.end() == []
    assert broadcaster.client_count == 1
    broadcaster.broadcast("message", "x")
    broadcaster.close()
    await asyncio.to_thread(thread.join)
    assert received == [message("x")]


# ---- other handlers that come and go ----


async def test_a_handler_that_is_set_over_ours_is_chained_by_the_next_stream(before: list[Any]) -> None:
    """As servers do, which install theirs late."""
    calls: list[str] = []
    broadcaster = permissive()
    first = await connect(broadcaster)
    signal.signal(signal.SIGTERM, lambda *_: calls.append("server"))
    server = signal.getsignal(signal.SIGTERM)
    second = await connect(broadcaster)
    assert signal.getsignal(signal.SIGTERM) is not server
    signal.raise_signal(signal.SIGTERM)
    assert await first.end() == await second.end() == []
    assert calls == ["server"]
    assert signal.getsignal(signal.SIGTERM) is server, "what stood there is put back"
    signal.signal(signal.SIGTERM, before[1])


async def test_a_handler_that_is_set_over_ours_and_stays_is_left_alone(before: list[Any]) -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    signal.signal(signal.SIGTERM, mine := lambda *_: None)
    await client.leave()
    assert signal.getsignal(signal.SIGTERM) is mine
    assert signal.getsignal(signal.SIGINT) is before[0]
    signal.signal(signal.SIGTERM, before[1])


def test_our_handler_that_somebody_kept_beyond_its_loop_still_calls_the_one_before_it(before: list[Any]) -> None:
    calls: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: calls.append(number))
    kept: list[Any] = []

    async def main() -> None:
        client = await connect(permissive())
        kept.append(signal.getsignal(signal.SIGTERM))
        await client.leave()

    asyncio.run(main())
    kept[0](signal.SIGTERM, None)
    assert calls == [signal.SIGTERM]
    signal.signal(signal.SIGTERM, before[1])


def test_a_stream_that_is_dropped_with_its_loop_leaves_no_trap(before: list[Any]) -> None:
    """Its end never comes; the next loop finds the stale handler and works in front of it."""
    broadcaster = permissive()
    kept: list[Any] = []

    async def leave_open() -> None:
        kept.append(await stuck_client(broadcaster))
        asyncio.get_running_loop().shutdown_asyncgens = turns  # as a loop that was simply abandoned

    async def serve() -> None:
        client = await connect(broadcaster)
        signal.raise_signal(signal.SIGTERM)
        assert await client.end() == []

    asyncio.run(leave_open())
    asyncio.run(serve())
    for number, handler in zip(BOTH, before, strict=True):
        signal.signal(number, handler)

    async def close() -> None:
        await kept.pop().aclose()

    asyncio.run(close())


# ---- one loop after the other ----


def test_a_signal_ends_the_streams_of_one_loop_and_the_next_begins_afresh(before: list[Any]) -> None:
    broadcaster = permissive()

    async def serve(texts: list[str]) -> None:
        client = await connect(broadcaster)
        for text in texts:
            broadcaster.broadcast("message", text)
        assert await client.has(2) == [message(text) for text in texts]
        signal.raise_signal(signal.SIGTERM)
        await client.end()

    for texts in (["1", "2"], ["3", "4"], ["5", "6"]):
        asyncio.run(serve(texts))
        assert handlers() == before


# ---- default actions, each in a process of its own ----

PROGRAM = """
import asyncio, os, signal, sys
from fastware.request import Request
from fastware_sse import Broadcaster

broadcaster = Broadcaster(strict=False)

async def read():
    async for chunk in (await broadcaster.stream(Request({{"type": "http"}}, {{}}, None))).generator:
        print(chunk.split()[-1], flush=True)
        {stuck}
    print("ended", flush=True)

async def main():
    {setup}
    tasks = [asyncio.create_task(read()) for _ in range({clients})]
    while broadcaster.client_count < {clients}:
        await asyncio.sleep(0)
    broadcaster.broadcast("message", "owed")
    os.kill(os.getpid(), signal.{number})
    {after}
    await asyncio.Event().wait()

{run}
"""
RUN = "asyncio.run(main())"
RUN_UVLOOP = "import uvloop; uvloop.run(main())"
RUN_BARE = "asyncio.new_event_loop().run_until_complete(main())"


def end_of(number: str, **parts: Any) -> subprocess.CompletedProcess[str]:
    defaults: dict[str, Any] = {"clients": 2, "stuck": "", "setup": "", "after": "", "run": RUN}
    return run_python(PROGRAM.format(number=number, **(defaults | parts)), ok=False)


@pytest.mark.parametrize("run", [RUN, RUN_UVLOOP, RUN_BARE], ids=["asyncio", "uvloop", "bare"])
def test_sigterm_ends_the_streams_and_then_the_process(run: str) -> None:
    done = end_of("SIGTERM", run=run)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
    assert sorted(done.stdout.split()) == ["ended", "ended", "owed", "owed"]


@pytest.mark.parametrize("run", [RUN, RUN_UVLOOP], ids=["asyncio", "uvloop"])
def test_ctrl_c_ends_the_streams_and_the_program_as_without_them(run: str) -> None:
    with_streams, without = end_of("SIGINT", run=run), end_of("SIGINT", run=run, clients=0)
    assert with_streams.returncode == without.returncode == -signal.SIGINT
    assert with_streams.stderr.splitlines()[-1] == without.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert "fastware_sse" not in with_streams.stderr
    assert with_streams.stdout.split().count("ended") == 2


def test_sigterm_ends_a_process_whose_stream_never_comes_to_its_end() -> None:
    done = end_of("SIGTERM", stuck="await asyncio.Event().wait()")
    assert (done.returncode, done.stderr, done.stdout) == (-signal.SIGTERM, "", "owed\nowed\n")


def test_sigterm_without_streams_is_as_if_we_were_not_there() -> None:
    done = end_of("SIGTERM", clients=0)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "", "")


def test_a_handler_of_the_loop_itself_is_chained() -> None:
    """As uvicorn and others learn of signals through the loop."""
    done = end_of(
        "SIGTERM",
        setup="stop = asyncio.Event(); asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)",
        after="await stop.wait(); await asyncio.gather(*tasks); print('stopped'); sys.exit(3)",
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.split() == ["owed", "owed", "ended", "ended", "stopped"]


def test_handlers_of_loops_that_end_in_any_order_are_all_put_back(before: list[Any]) -> None:
    loops = [asyncio.new_event_loop(), asyncio.new_event_loop()]
    streams = [loop.run_until_complete(open_stream(permissive())) for loop in loops]
    while streams:
        del streams[0]  # the first one's handler stands behind the second one's
    assert handlers() == before
    for loop in loops:
        loop.close()


async def test_streams_collected_on_another_thread_do_not_pile_up_handlers(before: list[Any]) -> None:
    for _ in range(3):
        response = await permissive().stream(request())
        response.itself = response
        del response
        await asyncio.to_thread(gc.collect)
    client = await connect(permissive())
    await client.leave()
    assert handlers() == before


def test_the_default_action_is_reached_through_a_handler_that_was_set_over_ours() -> None:
    code = """
import asyncio, signal
from fastware_sse import Broadcaster
async def main():
    response = await Broadcaster().stream(None)
    ours = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, frame: ours(number, frame))
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(30)
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=20).returncode == -signal.SIGTERM
