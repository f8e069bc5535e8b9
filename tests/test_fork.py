"""fork: the child starts without clients and works; the parent notices nothing."""

import asyncio
import gc
import os
import signal
import textwrap
import traceback
from collections.abc import Callable

import pytest
from support import connect, joined, message, open_stream, permissive, run_python, turns

from fastware_sse import Broadcaster, _core

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # of threads, which the tests do have
]


LIMIT = 30  # seconds after which a child that hangs is killed by SIGALRM


def in_child(check: Callable[[], object]) -> None:
    """Run `check` in a forked child; what it raises is printed there, and fails the test here."""
    child = os.fork()
    if child == 0:
        code = 1
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIMIT)
        try:
            asyncio._set_running_loop(None)  # the loop is the parent's
            check()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


async def serve_a_client(broadcaster: Broadcaster) -> None:
    client = await connect(broadcaster)
    assert broadcaster.client_count == 1
    broadcaster.broadcast("message", "child")
    assert await client.has(1) == [message("child")]
    await client.leave()
    assert broadcaster.client_count == 0


async def test_the_child_starts_empty_and_works() -> None:
    broadcaster = permissive()
    parked = await connect(broadcaster)
    busy = joined(broadcaster)
    broadcaster._clients.append(asyncio.Queue())
    broadcaster.broadcast("message", "before")

    def child() -> None:
        assert broadcaster.client_count == 0
        assert set(broadcaster.stats().values()) == {0}
        assert broadcaster.event_types == frozenset()
        asyncio.run(serve_a_client(broadcaster))
        # What the parent began is nobody's here, and may go in any order.
        broadcaster.close()
        busy.close()
        parked.task.cancel()
        gc.collect()

    in_child(child)
    assert broadcaster.client_count == 3
    broadcaster.broadcast("message", "after")
    assert await parked.has(2) == [message("before"), message("after")]
    assert list(busy) == [message("before"), message("after")]
    busy.close()
    await parked.leave()


def test_a_fork_in_the_middle_of_a_sweep_wakes_nobody_in_the_child() -> None:
    """The sockets are the parent's: its clients must not write to them a second time."""
    run_python(
        textwrap.dedent(
            """
            import asyncio, os, signal
            from fastware_sse import Broadcaster

            parent, status = os.getpid(), []

            async def read(broadcaster, name):
                subscription = broadcaster._subscribe()
                subscription.join(asyncio.get_running_loop())
                await subscription.park()
                if name == 0:
                    child = os.fork()
                    if child:
                        status.append(os.waitpid(child, 0)[1])
                    else:
                        signal.alarm(30)
                elif os.getpid() != parent:
                    os._exit(1)  # woken in the child
                subscription.close()

            def after_the_sweep():
                if os.getpid() != parent:
                    os._exit(0)

            async def main():
                broadcaster = Broadcaster(strict=False)
                clients = [asyncio.ensure_future(read(broadcaster, name)) for name in range(3)]
                await asyncio.sleep(0)
                broadcaster.broadcast("message", "")
                asyncio.get_running_loop().call_soon(after_the_sweep)
                await asyncio.wait(clients)
                assert status == [0], status

            asyncio.run(main())
            """
        )
    )


async def test_subscriptions_and_streams_that_the_parent_prepared_begin_in_the_child() -> None:
    broadcaster = permissive()
    stream = await open_stream(broadcaster)

    async def begin() -> None:
        step = asyncio.ensure_future(anext(stream))
        await turns()
        assert broadcaster.client_count == 1
        broadcaster.broadcast("message", "x")
        assert await step == message("x")
        await stream.aclose()

    in_child(lambda: asyncio.run(begin()))
    assert broadcaster.client_count == 0
    await stream.aclose()


async def test_a_closed_broadcaster_stays_closed_in_the_child() -> None:
    broadcaster = permissive()
    broadcaster.close()
    in_child(lambda: broadcaster._closed or 1 / 0)


async def test_limits_and_names_go_with_it() -> None:
    broadcaster = Broadcaster(2)
    broadcaster.register_event("a")

    async def check() -> None:
        assert broadcaster.event_types == {"a"}
        subscription = joined(broadcaster)
        for _ in range(3):
            broadcaster.broadcast("a", "")
        assert broadcaster.stats()["pruned"] == 1
        subscription.close()

    in_child(lambda: asyncio.run(check()))


async def test_signals_do_in_the_child_what_they_did_before_the_streams() -> None:
    before = signal.getsignal(signal.SIGTERM)
    broadcaster = permissive()
    client = await connect(broadcaster)
    assert signal.getsignal(signal.SIGTERM) is not before

    def child() -> None:
        assert signal.getsignal(signal.SIGTERM) is before
        asyncio.run(serve_a_client(broadcaster))

    in_child(child)
    assert signal.getsignal(signal.SIGTERM) is not before, "the parent's own are in place"
    await client.leave()


async def test_a_child_without_memory_says_so_and_keeps_nobody_waiting() -> None:
    if not hasattr(_core, "_alloc_fail_after"):
        pytest.skip("needs a debug build")
    broadcaster = permissive()

    def child() -> None:
        _core._alloc_fail_after(0)
        with pytest.raises(MemoryError):
            broadcaster._start_over()
        _core._alloc_fail_after(-1)
        broadcaster._start_over()

    in_child(child)


# ---- the warning ----


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "fork" in record.getMessage()]


async def test_a_broadcaster_in_use_before_the_fork_warns_once_in_the_child(caplog: pytest.LogCaptureFixture) -> None:
    broadcaster = permissive()
    broadcaster.broadcast("message", "parent")

    def child() -> None:
        assert warned(caplog) == [], "nobody has used it yet"
        broadcaster.broadcast("message", "1")
        broadcaster.broadcast("message", "2")
        asyncio.run(serve_a_client(broadcaster))
        [text] = warned(caplog)
        assert "run one worker" in text

    in_child(child)
    broadcaster.broadcast("message", "parent")
    assert warned(caplog) == []


async def test_one_that_was_only_made_before_the_fork_does_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    broadcaster = permissive()

    def child() -> None:
        asyncio.run(serve_a_client(broadcaster))
        assert warned(caplog) == []

    in_child(child)


# ---- under load ----


def test_100_forks_under_load() -> None:
    """Three threads publish and one loop reads while the main thread forks; each child serves clients of its own."""
    run_python(
        textwrap.dedent(
            """
            import asyncio, logging, os, signal, threading, traceback, warnings
            from fastware_sse import Broadcaster

            warnings.simplefilter("ignore", DeprecationWarning)
            logging.getLogger("fastware_sse").setLevel(logging.ERROR)  # the warning is tested elsewhere
            broadcaster = Broadcaster(strict=False)
            received, ready, done = [], threading.Event(), threading.Event()

            async def read():
                subscription = broadcaster._subscribe()
                subscription.join(asyncio.get_running_loop())
                ready.set()
                while (waiter := subscription.park()) is not None:
                    await waiter
                    for chunk in subscription:
                        yield chunk
                subscription.close()

            async def count():
                return sum([1 async for _ in read()])

            async def parent():
                received.extend(await asyncio.gather(*(count() for _ in range(20))))

            async def first():
                return [await anext(stream) for stream in [read()] for _ in range(3)]

            async def child():
                readers = [asyncio.ensure_future(first()) for _ in range(5)]
                await asyncio.sleep(0)
                assert broadcaster.client_count == 5, broadcaster
                for number in range(3):
                    broadcaster.broadcast("message", str(number))
                expected = [f"event: message\\ndata: {number}\\n\\n" for number in range(3)]
                assert await asyncio.gather(*readers) == [expected] * 5

            def publish():
                while not done.wait(0.001):  # or the forks would wait for the GIL most of the time
                    for _ in range(20):
                        broadcaster.broadcast("message", "x")

            threads = [threading.Thread(target=lambda: asyncio.run(parent()))]
            threads[0].start()
            ready.wait()
            threads += [threading.Thread(target=publish) for _ in range(3)]
            for thread in threads[1:]:
                thread.start()
            for _ in range(100):
                pid = os.fork()
                if pid == 0:
                    code = 1
                    signal.alarm(30)
                    try:
                        assert broadcaster.client_count == 0
                        asyncio.run(child())
                        code = 0
                    except BaseException:
                        traceback.print_exc()
                    finally:
                        os._exit(code)
                assert os.waitpid(pid, 0)[1] == 0
            done.set()
            for thread in threads[1:]:
                thread.join()
            events = broadcaster.stats()["events"]
            broadcaster.close()
            threads[0].join()
            assert received == [events] * 20, (received, events)
            """
        ),
        timeout=100,  # seconds; it takes two on an idle machine
    )
