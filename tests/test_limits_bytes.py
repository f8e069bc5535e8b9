"""max_buffer_bytes: who has more bytes waiting than that is pruned, exactly as by the number of events."""

import asyncio
import logging
import random
from typing import Any

import pytest
from support import connect, joined, message, permissive, stuck_client

from fastware_sse._core import Subscription

ROOM = len(message(""))  # of an event without data


def sized(size: int) -> str:
    """The data of an event of `size` bytes."""
    return "x" * (size - ROOM)


def waiting(subscription: Subscription) -> list[int]:
    """The sizes of what it still gets."""
    return [len(chunk.encode()) for chunk in subscription]


@pytest.mark.parametrize("sizes", [[100] * 10, [1000], [500, 400, 100], [999], [50] * 20])
async def test_who_has_exactly_so_many_bytes_stays_and_one_more_is_too_much(sizes: list[int]) -> None:
    broadcaster = permissive(0, max_buffer_bytes=1000)
    client = joined(broadcaster)
    for size in sizes:
        broadcaster.broadcast("message", sized(size))
        assert broadcaster.client_count == 1
    broadcaster.broadcast("message", sized(1001 - sum(sizes) if sum(sizes) < 1001 - ROOM else ROOM))
    assert broadcaster.client_count == 0
    assert waiting(client) == sizes, "it gets what was kept for it, without that event"
    assert client.park() is None
    client.close()


@pytest.mark.parametrize("size", [999, 1000, 1001, 100_000, 3_000_000])
async def test_one_event_may_always_wait(size: int) -> None:
    broadcaster = permissive(0, max_buffer_bytes=1000)
    client = joined(broadcaster)
    for _ in range(3):
        broadcaster.broadcast("message", sized(size))
        assert broadcaster.client_count == 1
        assert waiting(client) == [size]
    broadcaster.broadcast("message", sized(size))
    broadcaster.broadcast("message", sized(max(ROOM, 1001 - size)))
    assert broadcaster.client_count == 0
    assert waiting(client) == [size]
    client.close()


async def test_it_counts_the_bytes_of_utf_8_and_the_id() -> None:
    text = message("\N{BELL}" * 100)
    assert len(text.encode()) > len(text) + 100
    for options, size in (({}, len(text.encode())), ({"history": 10}, len(text.encode()) + len("id: \n") + 27)):
        for limit, stay in ((2 * size, 1), (2 * size - 1, 0)):
            broadcaster = permissive(0, max_buffer_bytes=limit, **options)
            client = joined(broadcaster)
            broadcaster.broadcast("message", "\N{BELL}" * 100)
            broadcaster.broadcast("message", "\N{BELL}" * 100)
            assert broadcaster.client_count == stay
            client.close()


@pytest.mark.parametrize("seed", range(5))
async def test_never_more_than_that_and_one_event_waits(seed: int) -> None:
    """Against one list for each client."""
    dice = random.Random(seed)
    events, limit = dice.choice([(0, 5_000), (8, 5_000), (1, 5_000), (64, 300)])
    broadcaster = permissive(events, max_buffer_bytes=limit)
    clients: list[tuple[Subscription, list[int]]] = []
    by_events = by_bytes = 0
    for _ in range(3000):
        action = dice.random()
        if action < 0.05 and len(clients) < 30:
            clients.append((joined(broadcaster), []))
        elif action < 0.4 and clients:
            client, expected = dice.choice(clients)
            for _ in range(dice.choice([1, 5, 100])):
                if expected:
                    assert len(next(client).encode()) == expected.pop(0)
        else:
            size = ROOM + dice.choice([0, 10, 300, 2_000, 20_000])
            broadcaster.broadcast("message", sized(size))
            for pair in list(clients):
                client, expected = pair
                if events and len(expected) >= events:
                    by_events += 1
                elif expected and sum(expected) + size > limit:
                    by_bytes += 1
                else:
                    expected.append(size)
                    assert len(expected) == 1 or sum(expected) <= limit
                    continue
                clients.remove(pair)
                assert waiting(client) == expected
                assert (client.park(), client.fate) == (None, "pruned")
                client.close()
        counts = broadcaster.stats()
        assert counts["connected"] == len(clients)
        assert (counts["pruned_by_events"], counts["pruned_by_bytes"]) == (by_events, by_bytes)
        assert counts["pruned"] == by_events + by_bytes
        assert counts["log_bytes"] == max((sum(expected) for _, expected in clients), default=0)
    assert by_bytes > 10
    for client, _ in clients:
        client.close()


async def test_the_stream_of_who_is_pruned_gets_the_rest_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fastware_sse")
    broadcaster = permissive(max_buffer_bytes=1000)
    slow, quick = await stuck_client(broadcaster), await connect(broadcaster)
    for number in range(11):
        broadcaster.broadcast("message", sized(100))
        await quick.has(number + 1)
    assert broadcaster.client_count == 1
    assert [len(chunk) async for chunk in slow] == [100] * 10
    assert [record.getMessage() for record in caplog.records] == ["pruned 1 slow SSE clients (1 remain)"]
    await quick.leave()


async def test_a_burst_of_bytes_is_told_as_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fastware_sse")
    broadcaster = permissive(1000, max_buffer_bytes=100)
    client = await connect(broadcaster)
    for _ in range(2):
        broadcaster.broadcast("message", sized(100))
    assert broadcaster.stats()["pruned_by_bytes"] == 1
    (record,) = caplog.records
    assert "more was broadcast" in record.getMessage()
    assert "(buffer_size=1000, max_buffer_bytes=100)" in record.getMessage()
    await client.end()


async def test_who_catches_up_is_not_pruned_by_bytes() -> None:
    broadcaster = permissive(0, max_buffer_bytes=1000, history=1000)
    begin = joined(broadcaster)
    last_id = (begin.id or "").encode()
    begin.close()
    for _ in range(50):
        broadcaster.broadcast("message", sized(100))
    client = broadcaster._subscribe()
    client.join(asyncio.get_running_loop(), last_id)
    for _ in range(50):
        broadcaster.broadcast("message", sized(100))
    assert broadcaster.stats()["pruned"] == 0
    assert len(waiting(client)) == 100
    for _ in range(8):
        broadcaster.broadcast("message", sized(100))
    assert broadcaster.stats()["pruned_by_bytes"] == 1
    client.close()


@pytest.mark.parametrize("limit", [1, 10**6, 10**30, None])
async def test_limits_that_are_accepted(limit: Any) -> None:
    broadcaster = permissive(0, max_buffer_bytes=limit)
    client = joined(broadcaster)
    for _ in range(3):
        broadcaster.broadcast("message", "")
    assert broadcaster.client_count == (limit != 1)
    client.close()
