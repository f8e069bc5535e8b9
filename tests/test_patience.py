"""A publisher on another thread lets clients read whose loop has had no turn, before it would overflow them."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from support import Client, connect, message, open_stream, permissive, stuck_client, turns

from fastware_sse import Broadcaster, sse_route

WAIT = 0.020  # seconds, at most, for each broadcast


async def in_thread(call: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, call)


def publish(broadcaster: Broadcaster, count: int) -> None:
    for number in range(count):
        broadcaster.broadcast("message", str(number))


async def test_a_thread_that_publishes_without_a_pause_prunes_nobody_who_reads() -> None:
    broadcaster = permissive(256)
    clients = [await connect(broadcaster) for _ in range(60)]
    handler = sse_route(broadcaster)
    clients += [Client((await handler(None)).generator) for _ in range(40)]
    await turns()
    began = time.perf_counter()
    await in_thread(lambda: publish(broadcaster, 100_000))
    print(f"100,000 events from a thread to 100 clients: {time.perf_counter() - began:.2f} s")
    broadcaster.close()
    expected = "".join(message(str(number)) for number in range(100_000))
    for client in clients:
        assert "".join(await client.end()) == expected
    assert broadcaster.stats()["pruned"] == 0


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
    broadcaster = permissive(10)
    client = await connect(broadcaster)
    times = []

    def hurry() -> None:
        for number in range(20):
            began = time.perf_counter()
            broadcaster.broadcast("message", str(number))
            times.append(time.perf_counter() - began)

    thread = threading.Thread(target=hurry)
    thread.start()
    thread.join()  # the loop stands still meanwhile
    slow = [index for index, seconds in enumerate(times) if seconds >= WAIT]
    assert slow == [6, 7, 8, 9, 10], "those that find more than half of the buffer used, until the client is pruned"
    assert max(times) < 10 * WAIT
    assert broadcaster.stats()["pruned"] == 1
    assert await client.end() == [message(str(number)) for number in range(10)]


async def test_a_loop_that_stands_still_for_long_is_given_up() -> None:
    broadcaster = permissive(1_000)
    client = await connect(broadcaster)
    thread = threading.Thread(target=publish, args=(broadcaster, 1_001))
    began = time.perf_counter()
    thread.start()
    thread.join()
    assert 50 * WAIT <= time.perf_counter() - began < 150 * WAIT
    assert broadcaster.stats()["pruned"] == 1
    assert len(await client.end()) == 1_000


async def test_nobody_waits_for_a_client_that_is_slow() -> None:
    broadcaster = permissive(10)
    slow = await stuck_client(broadcaster)
    await turns()
    thread = threading.Thread(target=publish, args=(broadcaster, 11))
    thread.start()
    began = time.perf_counter()
    thread.join()
    assert time.perf_counter() - began < WAIT
    assert broadcaster.client_count == 0
    await slow.aclose()


async def test_a_client_in_the_middle_of_its_step_is_waited_for() -> None:
    """It has read, and its thread lost the GIL before it could park."""
    broadcaster = permissive(4)
    generator = await open_stream(broadcaster)
    got: list[str] = []

    async def read() -> None:
        async for chunk in generator:
            got.append(chunk)
            if len(got) == 1:
                thread.start()
                time.sleep(WAIT / 4)  # lets the publisher run, inside of the step

    reader = asyncio.create_task(read())
    await turns()
    thread = threading.Thread(target=publish, args=(broadcaster, 50))
    broadcaster.broadcast("message", "first")
    while len(got) < 51:
        await asyncio.sleep(0)
    assert broadcaster.stats()["pruned"] == 0
    reader.cancel()
    await asyncio.wait([reader])


async def test_the_loops_own_thread_never_waits() -> None:
    broadcaster = permissive(10)
    client = await connect(broadcaster)
    began = time.perf_counter()
    publish(broadcaster, 20)
    assert time.perf_counter() - began < WAIT
    assert broadcaster.stats()["pruned"] == 1
    await client.end()


async def test_a_thread_that_runs_another_loop_never_waits() -> None:
    broadcaster = permissive(10)
    client = await connect(broadcaster)

    async def elsewhere() -> float:
        began = time.perf_counter()
        publish(broadcaster, 20)
        return time.perf_counter() - began

    seconds: list[float] = []
    thread = threading.Thread(target=lambda: seconds.append(asyncio.run(elsewhere())))
    thread.start()
    thread.join()
    assert seconds[0] < WAIT
    await client.end()


async def test_two_publishers_may_wait_for_the_same_loop() -> None:
    broadcaster = permissive(16)
    clients = [await connect(broadcaster) for _ in range(10)]
    await asyncio.gather(*(in_thread(lambda: publish(broadcaster, 5_000)) for _ in range(4)))
    broadcaster.close()
    for client in clients:
        assert len(await client.end()) == 20_000
    assert broadcaster.stats()["pruned"] == 0
