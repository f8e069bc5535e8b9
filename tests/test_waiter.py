"""What a parked stream awaits, under every kind of task and loop that a server may bring."""

import asyncio
import contextlib
import contextvars
import sys
from asyncio.tasks import _PyTask
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from support import Client, connect, joined, message, open_stream, permissive, turns

EAGER = pytest.param("eager", marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="new in Python 3.12"))


def run_with(kind: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs `main` with one kind of tasks or loop."""
    loop = uvloop.new_event_loop() if kind == "uvloop" else asyncio.new_event_loop()
    if kind == "python tasks":
        loop.set_task_factory(lambda loop, coro, **keywords: _PyTask(coro, loop=loop, **keywords))
    if kind == "eager":
        loop.set_task_factory(asyncio.eager_task_factory)
    faults: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    loop.set_debug(kind == "debug")
    with contextlib.closing(loop):
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_asyncgens())
    assert not faults, faults


KINDS = pytest.mark.parametrize("kind", ["c tasks", "python tasks", "uvloop", "debug", EAGER])


@KINDS
def test_streams_under_every_kind_of_task_and_loop(kind: str) -> None:
    async def main() -> None:
        broadcaster = permissive()
        clients = [await connect(broadcaster) for _ in range(100)]
        sent = []
        for number in range(50):
            broadcaster.broadcast("message", str(number))
            sent.append(message(str(number)))
            await turns(number % 4)
        for client in clients:
            assert await client.has(50) == sent
        leaving = clients.pop()
        await leaving.leave()
        assert broadcaster.client_count == 99
        broadcaster.close()
        for client in clients:
            assert await client.end() == sent

    run_with(kind, main)


@KINDS
def test_cancellation_under_every_kind_of_task_and_loop(kind: str) -> None:
    async def main() -> None:
        broadcaster = permissive()
        stays = await connect(broadcaster)

        for broadcasts in (0, 1):
            for settled in (0, 1, 2):
                client = await connect(broadcaster)
                for _ in range(broadcasts):
                    broadcaster.broadcast("message", "x")
                await turns(settled)
                client.task.cancel("go")
                await turns(3)
                assert client.task.done()
        async with asyncio.timeout(None) as timeout:
            stream = await open_stream(broadcaster)
            asyncio.get_running_loop().call_soon(timeout.reschedule, 0)
            assert [chunk async for chunk in stream] == []
        with pytest.raises((StopAsyncIteration, TimeoutError)):
            await asyncio.wait_for(anext(await open_stream(broadcaster)), 0.001)
        assert broadcaster.client_count == 1
        await stays.leave()

    run_with(kind, main)


@KINDS
def test_a_reader_is_its_own_task_while_it_reads(kind: str) -> None:
    """Whoever wakes it: the current task, its context and its timeouts are its own."""
    mine: contextvars.ContextVar[str] = contextvars.ContextVar("mine")

    async def main() -> None:
        broadcaster = permissive()

        async def read(name: str) -> None:
            task = asyncio.current_task()
            mine.set(name)
            async with asyncio.timeout(60):
                async for _ in await open_stream(broadcaster):
                    assert asyncio.current_task() is task
                    assert mine.get() == name
                    await asyncio.sleep(0)

        tasks = [asyncio.create_task(read(str(number))) for number in range(5)]
        await turns()
        for number in range(5):
            broadcaster.broadcast("message", str(number))
            await turns(5)
        broadcaster.close()
        await asyncio.gather(*tasks)

    run_with(kind, main)


@KINDS
def test_a_reader_that_fails_fails_alone(kind: str) -> None:
    async def main() -> None:
        broadcaster = permissive()

        async def fail() -> None:
            async for _ in await open_stream(broadcaster):
                raise ZeroDivisionError

        before, task = await connect(broadcaster), asyncio.create_task(fail())
        await turns()
        after = await connect(broadcaster)
        broadcaster.broadcast("message", "x")
        with pytest.raises(ZeroDivisionError):
            await task
        assert await before.has(1) == await after.has(1) == [message("x")]
        await before.leave()
        await after.leave()

    run_with(kind, main)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_one_reader_stops_the_loop_and_not_the_other_readers(error: type[BaseException]) -> None:
    loop = asyncio.new_event_loop()
    broadcaster = permissive()
    clients: list[Client] = []

    async def leave() -> None:
        async for _ in await open_stream(broadcaster):
            raise error

    async def begin() -> asyncio.Task[None]:
        clients.extend([await connect(broadcaster) for _ in range(3)])
        leaving = asyncio.create_task(leave())
        await turns()
        clients.extend([await connect(broadcaster) for _ in range(100)])
        return leaving

    async def go_on() -> None:
        for client in clients:
            assert await client.has(2) == [message("1"), message("2")]
            await client.leave()

    with contextlib.closing(loop):
        leaving = loop.run_until_complete(begin())
        broadcaster.broadcast("message", "1")
        with pytest.raises(error):
            loop.run_forever()
        assert isinstance(leaving.exception(), error)
        broadcaster.broadcast("message", "2")
        loop.run_until_complete(go_on())
        loop.run_until_complete(loop.shutdown_asyncgens())


async def test_a_reader_may_broadcast_close_and_connect_when_it_is_woken() -> None:
    broadcaster = permissive()
    more: list[Client] = []

    async def chain(name: str, then: Callable[[], None]) -> None:
        async for chunk in await open_stream(broadcaster):
            if chunk == message(name):
                then()
                return

    async def connect_more() -> None:
        async for _ in await open_stream(broadcaster):
            more.append(Client(await open_stream(broadcaster)))
            return

    tasks = [
        asyncio.create_task(coroutine)
        for coroutine in (
            chain("1", lambda: broadcaster.broadcast("message", "2")),
            chain("2", lambda: broadcaster.broadcast("message", "3")),
            connect_more(),
            chain("3", broadcaster.close),
        )
    ]
    client = await connect(broadcaster)
    broadcaster.broadcast("message", "1")
    assert await client.end() == [message("1"), message("2"), message("3")]
    await asyncio.gather(*tasks)
    await more[0].end()


async def test_a_waiter_that_nobody_awaits_tells_when_it_is_done() -> None:
    broadcaster = permissive()
    subscription = joined(broadcaster)
    waiter = subscription.park()
    assert not waiter.done()
    await turns()
    assert not waiter.done()
    broadcaster.broadcast("message", "x")
    await turns()
    assert waiter.done()
    assert waiter.result() is None
    assert list(subscription) == [message("x")]
    subscription.close()


async def test_a_waiter_whose_subscription_is_closed_is_never_done() -> None:
    broadcaster = permissive()
    subscription = joined(broadcaster)
    waiter = subscription.park()
    subscription.close()
    broadcaster.broadcast("message", "x")
    await turns()
    assert not waiter.done()
    waiter.cancel()
    assert waiter.cancelled()
