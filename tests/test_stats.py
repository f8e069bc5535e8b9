"""stats() and repr(): what an operator sees."""

import asyncio

from support import connect, joined, message, permissive, stuck_client

from fastware_sse import Broadcaster

KEYS = ["connected", "direct", "total", "resumed", "gaps_evicted", "gaps_epoch", "gaps_future", "gaps_invalid"]
KEYS += ["pruned", "pruned_by_events", "pruned_by_bytes", "pruned_by_history", "stuck", "events", "bytes"]
KEYS += ["log_events", "log_bytes", "lag", "history_events", "history_bytes"]
PRUNED = {"pruned": 1, "pruned_by_events": 1}


async def test_stats_of_a_life() -> None:
    broadcaster = permissive(3)
    none = dict.fromkeys(KEYS, 0)
    assert broadcaster.stats() == none

    client, slow = await connect(broadcaster), await stuck_client(broadcaster)
    size = len(message("0"))
    for number in range(3):
        broadcaster.broadcast("message", str(number))
        await client.has(number + 1)
    published = {"events": 3, "bytes": 3 * size}
    waiting = {"log_events": 3, "log_bytes": 3 * size, "lag": 3}
    assert broadcaster.stats() == none | published | waiting | {"connected": 2, "total": 2}

    broadcaster.broadcast("message", "3")
    await client.has(4)
    assert broadcaster.stats() == none | {"events": 4, "bytes": 4 * size, "connected": 1, "total": 2} | PRUNED

    await client.leave()
    await slow.aclose()
    assert broadcaster.stats() == none | {"events": 4, "bytes": 4 * size, "total": 2} | PRUNED


async def test_queues_of_the_caller_are_connected_like_clients() -> None:
    broadcaster = permissive()
    broadcaster._clients.append(asyncio.Queue())
    assert broadcaster.stats()["connected"] == broadcaster.client_count == 1
    assert broadcaster.stats()["total"] == 0


async def test_a_stream_of_a_closed_broadcaster_was_never_a_client() -> None:
    broadcaster = permissive()
    broadcaster.close()
    subscription = joined(broadcaster)
    assert broadcaster.stats()["total"] == 0
    subscription.close()


async def test_repr_tells_state_clients_and_head() -> None:
    class Mine(Broadcaster):
        pass

    broadcaster = Mine(strict=False)
    assert repr(broadcaster) == "<Mine open, 0 clients, head 0>"
    client = await connect(broadcaster)
    broadcaster.broadcast("message", "")
    assert repr(broadcaster) == "<Mine open, 1 clients, head 1>"
    broadcaster.close()
    assert repr(broadcaster) == "<Mine closed, 0 clients, head 1>"
    await client.end()
