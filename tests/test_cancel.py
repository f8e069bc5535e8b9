"""Streams that are cancelled, closed or misused at any await point: they end or go on, and the others see nothing."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trio
from support import Client, connect, joined, message, open_stream, permissive, stuck_client, turns

from fastware_sse import Broadcaster


@asynccontextmanager
async def unharmed(broadcaster: Broadcaster) -> AsyncIterator[None]:
    """Clients that stand beside whatever the block does, and get all events."""
    before = await connect(broadcaster)
    stuck = await stuck_client(broadcaster)
    yield
    after = await connect(broadcaster)
    assert broadcaster.client_count == 3
    broadcaster.broadcast("last", "")
    broadcaster.close()
    *events, last = await before.end()
    assert last == message("", "last")
    assert [chunk async for chunk in stuck] == [*events, last]
    assert await after.end() == [last]


async def cancelled_client(broadcaster: Broadcaster) -> asyncio.Task[str]:
    """The task of one step of a stream, parked; whoever cancels it awaits its end with `ended`."""
    stream = await open_stream(broadcaster)
    step = asyncio.ensure_future(anext(stream))
    await turns()
    return step


async def ended(step: asyncio.Future[str]) -> None:
    with pytest.raises(StopAsyncIteration):
        await step


# ---- cancellation ----


async def test_cancelled_while_parked() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        step = await cancelled_client(broadcaster)
        step.cancel()
        await ended(step)
        broadcaster.broadcast("message", "x")


async def test_cancelled_before_the_first_step_has_run() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        step = asyncio.ensure_future(anext(await open_stream(broadcaster)))
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step


async def test_cancelled_between_the_broadcast_and_the_wake_up() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        step = await cancelled_client(broadcaster)
        broadcaster.broadcast("message", "x")
        step.cancel()
        await ended(step)


async def test_cancelled_just_before_a_broadcast() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        step = await cancelled_client(broadcaster)
        step.cancel()
        broadcaster.broadcast("message", "x")
        await ended(step)


async def test_cancelled_when_just_woken() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        client = await connect(broadcaster)
        broadcaster.broadcast("message", "x")
        await asyncio.sleep(0)  # the sweep has run
        await client.leave()
        assert client.chunks in ([], [message("x")])


async def test_cancelled_by_one_that_was_woken_with_it() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        victims: list[asyncio.Future[str]] = []

        async def read_and_cancel_the_others() -> str:
            stream = await open_stream(broadcaster)
            chunk = await anext(stream)
            for victim in victims:
                victim.cancel()
            await stream.aclose()
            return chunk

        first = asyncio.create_task(read_and_cancel_the_others())
        await turns()
        victims += [await cancelled_client(broadcaster) for _ in range(3)]
        broadcaster.broadcast("message", "x")
        assert await first == message("x")
        for victim in victims:
            await ended(victim)


async def test_cancelled_from_a_thread() -> None:
    broadcaster = permissive()
    loop = asyncio.get_running_loop()
    async with unharmed(broadcaster):
        step = await cancelled_client(broadcaster)
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(step.cancel,))
        thread.start()
        await ended(step)
        thread.join()


async def test_cancelled_while_the_reader_does_something_else() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        reached = asyncio.Event()

        async def read() -> None:
            async for _ in await open_stream(broadcaster, [("hello", "")]):
                reached.set()
                await asyncio.Event().wait()  # a send() that is blocked

        task = asyncio.create_task(read())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await turns()  # the loop closes the generator that the task dropped


async def test_cancelled_again_and_again() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        for number in range(200):
            client = await connect(broadcaster)
            if number % 3 > 0:
                broadcaster.broadcast("message", str(number))
            if number % 3 > 1:
                await asyncio.sleep(0)
            await client.leave()
    assert broadcaster.stats()["log_events"] == 0


@pytest.mark.parametrize("generator", ["stream", "queue"])
async def test_inside_an_anyio_cancel_scope(generator: str) -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        stream = (
            await open_stream(broadcaster) if generator == "stream" else broadcaster._event_generator(asyncio.Queue())
        )
        chunks = []
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_soon(broadcaster.broadcast, "message", "x")
            async for chunk in stream:
                chunks.append(chunk)
                asyncio.get_running_loop().call_soon(scope.cancel)
        assert chunks == [message("x")]
        assert scope.cancel_called
        await anyio.sleep(0)
        assert asyncio.current_task().cancelling() == 0, "nothing is left over"


async def test_inside_an_anyio_task_group_that_is_cancelled() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):

        async def read() -> None:
            async for _ in await open_stream(broadcaster):
                pass

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(read)
            await turns()
            assert broadcaster.client_count == 5
            group.cancel_scope.cancel()


async def test_under_asyncio_timeout() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        async with asyncio.timeout(None) as timeout:
            client = await open_stream(broadcaster)
            asyncio.get_running_loop().call_soon(timeout.reschedule, 0)
            assert [chunk async for chunk in client] == []
        assert timeout.expired()
        assert asyncio.current_task().cancelling() == 0, "nothing is left over"


async def test_under_asyncio_wait_for() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        stream = await open_stream(broadcaster)
        with pytest.raises((StopAsyncIteration, TimeoutError)):
            await asyncio.wait_for(anext(stream), 0.01)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


# ---- misuse ----


@pytest.mark.parametrize("misuse", [anext, lambda stream: stream.aclose()], ids=["anext", "aclose"])
async def test_a_second_call_while_a_step_runs_is_refused_and_the_step_goes_on(misuse: Callable[[Any], Any]) -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        stream = await open_stream(broadcaster)
        step = asyncio.ensure_future(anext(stream))
        await turns()
        with pytest.raises(RuntimeError, match="already running"):
            await misuse(stream)
        broadcaster.broadcast("message", "x")
        assert await step == message("x")
        await stream.aclose()


async def test_an_exception_thrown_in_while_suspended_unregisters() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        stream = await stuck_client(broadcaster)
        with pytest.raises(ZeroDivisionError):
            await stream.athrow(ZeroDivisionError())


async def test_a_subscription_closed_from_a_thread_while_its_stream_is_parked() -> None:
    broadcaster = permissive()
    async with unharmed(broadcaster):
        stream = await open_stream(broadcaster)
        step = asyncio.ensure_future(anext(stream))
        await turns()
        subscription = stream.ag_frame.f_locals["subscription"]
        thread = threading.Thread(target=subscription.close)
        thread.start()
        thread.join()
        assert broadcaster.client_count == 2
        broadcaster.broadcast("message", "x")
        step.cancel()
        await ended(step)


# ---- other loops ----


def test_a_closed_loop_takes_its_clients_with_it() -> None:
    broadcaster = permissive()

    async def leave_it_parked() -> list[Any]:
        subscription = joined(broadcaster)
        return [subscription, subscription.park()]

    parked = asyncio.run(leave_it_parked())

    async def go_on() -> None:
        broadcaster.broadcast("message", "x")
        async with unharmed(broadcaster):
            broadcaster.broadcast("message", "y")

    asyncio.run(go_on())
    del parked


@pytest.mark.parametrize("generator", ["stream", "queue"])
def test_trio_is_refused_with_a_clear_text(generator: str) -> None:
    broadcaster = permissive()

    async def main() -> None:
        stream = await open_stream(broadcaster)
        if generator == "queue":
            stream = broadcaster._event_generator(asyncio.Queue())
        with pytest.raises(RuntimeError, match="asyncio event loop"):
            await anext(stream)
        assert broadcaster.client_count == 0
        broadcaster.broadcast("message", "x")

    trio.run(main)


async def test_the_client_of_another_loop_is_unharmed_by_this_one() -> None:
    broadcaster = permissive()
    ready, ended_there = threading.Event(), []

    async def elsewhere() -> None:
        client = Client(await open_stream(broadcaster))
        await turns()
        ready.set()
        ended_there.extend(await client.end())

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    await asyncio.to_thread(ready.wait)
    step = await cancelled_client(broadcaster)
    broadcaster.broadcast("message", "x")
    step.cancel()
    await ended(step)
    broadcaster.close()
    await asyncio.to_thread(thread.join)
    assert ended_there == [message("x")]
