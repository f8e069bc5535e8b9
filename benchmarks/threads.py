"""A thread that publishes without a pause, to clients on the event loop of another."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from common import EVENT, PAYLOAD, Clients, make_broadcaster
from result import Line

EVENTS = 100_000
READERS = 100
BUFFER = 256  # events that may wait for one client


def threads() -> list[Line]:
    """The original has no part in it: see README.md."""
    return asyncio.run(_threads())


async def _threads() -> list[Line]:
    broadcaster = make_broadcaster("ours", buffer_size=BUFFER)
    clients = Clients(broadcaster)
    await clients.start(READERS)
    seconds = await asyncio.to_thread(_publish, broadcaster)
    await clients.finish()
    pruned = broadcaster.stats()["pruned"]
    lost = EVENTS * READERS - clients.received
    what = f"a thread publishes {EVENTS:,} events without a pause to {READERS} clients, buffer_size={BUFFER}"
    took = f"{seconds:.1f} s, {seconds / EVENTS * 1e6:.0f} us for each event"
    return [
        Line(f"{what}: clients pruned", "0", str(pruned), pruned == 0),
        Line(f"{what}: events lost", "0", f"{lost:,}", lost == 0),
        Line(f"{what}: until its last broadcast() returns", "", took),
    ]


def _publish(broadcaster: Any) -> float:
    """Returns the seconds that it took."""
    start = perf_counter()
    for _ in range(EVENTS):
        broadcaster.broadcast(EVENT, PAYLOAD)
    return perf_counter() - start
