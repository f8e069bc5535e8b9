"""A publisher on another thread lets clients read whose loop has had no turn, before it would overflow them."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from exchange import Exchange
from support import Client, connect, joined, message, open_stream, permissive, stuck_client, turns

from fastware_sse import Broadcaster, sse_route
from fastware_sse.asgi import EventStream

WAIT = 0.020  # seconds, at most, for each broadcast
GIVEN_UP = 1.0  # seconds in which the loop has done nothing
ENDANGERED = [6, 7, 8, 9, 10]  # which of the broadcasts find more than half of 10 used; the last of them prunes


async def in_thread(call: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, call)


def beside(*calls: Callable[[], Any]) -> list[Any]:
    """Run each call in a thread of its own. The loop that runs here stands still meanwhile."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [running.result() for running in [pool.submit(call) for call in calls]]


def publish(broadcaster: Broadcaster, count: int) -> None:
    for number in range(count):
        broadcaster.broadcast("message", str(number))


def timed(broadcaster: Broadcaster) -> list[float]:
    """Publish twenty events; return how long each took."""
    times = []
    for number in range(20):
        began = time.perf_counter()
        broadcaster.broadcast("message", str(number))
        times.append(time.perf_counter() - began)
    return times


def waited(rounds: list[list[float]]) -> list[int]:
    """Which events waited. On a busy machine any of them may take long now and then; one that waits always does."""
    assert len(rounds) == 3
    seconds = [min(times) for times in zip(*rounds, strict=True)]
    assert max(seconds) < 10 * WAIT
    return [index for index, fastest in enumerate(seconds) if fastest >= WAIT]


async def test_a_thread_that_publishes_without_a_pause_prunes_nobody_who_reads() -> None:
    broadcaster = permissive(256)
    clients = [await connect(broadcaster) for _ in range(60)]
    handler = sse_route(broadcaster)
    clients += [Client((await handler(None)).generator) for _ in range(20)]
    exchanges = [Exchange(EventStream(broadcaster)) for _ in range(20)]
    await turns(8)
    began = time.perf_counter()
    await in_thread(lambda: publish(broadcaster, 100_000))
    print(f"100,000 events from a thread to 100 clients: {time.perf_counter() - began:.2f} s")
    assert broadcaster.stats()["pruned"] == 0
    broadcaster.close()
    expected = "".join(message(str(number)) for number in range(100_000))
    for client in clients:
        assert "".join(await client.end()) == expected
    for exchange in exchanges:
        assert (await exchange.end()).text == ":\n\n" + expected


async def test_events_so_large_that_clients_rest_again_and_again_prune_nobody() -> None:
    """After 64 KiB a stream gives others a turn although it has more to send: that makes it no slow one."""
    broadcaster = permissive(16)
    clients = [await connect(broadcaster) for _ in range(20)]
    handler = sse_route(broadcaster)
    clients += [Client((await handler(None)).generator) for _ in range(20)]
    await turns()
    text = "x" * 20_000
    await in_thread(lambda: [broadcaster.broadcast("message", text) for _ in range(400)])
    broadcaster.close()
    for client in clients:
        assert sum(map(len, await client.end())) == 400 * len(message(text))
    assert broadcaster.stats()["pruned"] == 0


async def test_a_loop_that_stands_still_holds_an_event_up_for_20_ms_and_its_clients_are_pruned() -> None:
    rounds = []
    for _ in range(3):
        broadcaster = permissive(10)
        client = await connect(broadcaster)
        rounds += beside(lambda broadcaster=broadcaster: timed(broadcaster))
        assert broadcaster.stats()["pruned"] == 1
        assert await client.end() == [message(str(number)) for number in range(10)]
    assert waited(rounds) == ENDANGERED


@pytest.mark.parametrize("publishers", [1, 8])
async def test_a_loop_that_stands_still_for_long_is_given_up(publishers: int) -> None:
    broadcaster = permissive(4_000)
    client = await connect(broadcaster)
    began = time.perf_counter()
    beside(*[lambda: publish(broadcaster, 4_001)] * publishers)
    assert GIVEN_UP <= time.perf_counter() - began < 10 * GIVEN_UP
    assert broadcaster.stats()["pruned"] == 1
    assert len(await client.end()) == 4_000


async def test_nobody_waits_for_a_client_that_is_slow() -> None:
    rounds = []
    for _ in range(3):
        broadcaster = permissive(10)
        slow = await stuck_client(broadcaster)
        await turns()
        rounds += beside(lambda broadcaster=broadcaster: timed(broadcaster))
        assert broadcaster.client_count == 0
        await slow.aclose()
    assert waited(rounds) == []


async def test_a_client_that_rests_is_waited_for() -> None:
    rounds = []
    for _ in range(3):
        broadcaster = permissive(10)
        client = joined(broadcaster)
        client.rest()
        rounds += beside(lambda broadcaster=broadcaster: timed(broadcaster))
        client.close()
    assert waited(rounds) == ENDANGERED


@pytest.mark.parametrize("kind", [Client, EventStream])
async def test_streams_rest_after_64_kib(kind: type) -> None:
    rounds = []
    for _ in range(3):
        broadcaster = permissive(10)
        client = Client(await open_stream(broadcaster)) if kind is Client else Exchange(EventStream(broadcaster))
        await turns(8)
        broadcaster.broadcast("message", "x" * 70_000)
        await asyncio.sleep(0)  # it has been woken, and rests because of the size
        rounds += beside(lambda broadcaster=broadcaster: timed(broadcaster))
        broadcaster.close()
        await client.end()
    assert waited(rounds) == ENDANGERED


async def test_a_client_that_was_woken_and_has_not_read_is_waited_for() -> None:
    """Its thread lost the GIL in between."""
    rounds: list[list[float]] = []

    async def read() -> None:
        broadcaster = permissive(10)
        client = joined(broadcaster)
        waiter = client.park()
        broadcaster.broadcast("message", "wakes it")
        await waiter
        rounds.extend(beside(lambda: timed(broadcaster)))
        client.close()

    for _ in range(3):
        await read()
    assert waited(rounds) == [index - 1 for index in ENDANGERED]


async def test_a_client_in_the_middle_of_its_step_is_waited_for() -> None:
    """It has read, and its thread lost the GIL before it could park."""
    rounds = []
    for _ in range(3):
        broadcaster = permissive(10)
        client = joined(broadcaster)
        broadcaster.broadcast("message", "first")
        assert next(client) == message("first")
        rounds += beside(lambda broadcaster=broadcaster: timed(broadcaster))
        client.close()
    assert waited(rounds) == ENDANGERED


async def test_the_loops_own_thread_never_waits() -> None:
    rounds = []
    for _ in range(3):
        broadcaster = permissive(10)
        client = await connect(broadcaster)
        rounds.append(timed(broadcaster))
        assert broadcaster.stats()["pruned"] == 1
        await client.end()
    assert waited(rounds) == []


async def test_a_thread_that_runs_another_loop_never_waits() -> None:
    async def elsewhere(broadcaster: Broadcaster) -> list[float]:
        return timed(broadcaster)

    rounds = []
    for _ in range(3):
        broadcaster = permissive(10)
        client = await connect(broadcaster)
        rounds += beside(lambda broadcaster=broadcaster: asyncio.run(elsewhere(broadcaster)))
        await client.end()
    assert waited(rounds) == []


async def test_several_publishers_may_wait_for_the_same_loop() -> None:
    broadcaster = permissive(256)
    clients = [await connect(broadcaster) for _ in range(10)]
    await asyncio.gather(*(in_thread(lambda: publish(broadcaster, 5_000)) for _ in range(4)))
    assert broadcaster.stats()["pruned"] == 0
    broadcaster.close()
    for client in clients:
        assert len(await client.end()) == 20_000
