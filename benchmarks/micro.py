"""The calls alone, in one process: what broadcast() and the formatting cost."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter_ns
from typing import Any

import common
from common import EVENT, PAYLOAD, Clients, make_broadcaster
from result import Line, at_least, at_most

MANY = 10_000
CALLS = 200
ROUNDS = 9
PARKED = 1_000

SAMPLE_BLOCKS = 10
SAMPLES = 40

FORMATTED = {
    "120-byte dict": (PAYLOAD, 1.3),
    "4 KB of text in one line": ("x" * 4096, 1.5),
    "4 KB of text in 50 lines": ("\n".join(["x" * 81] * 50), 4.0),
}


def constant_time() -> list[Line]:
    """Rounds of 200 calls to 1 and to 10,000 parked clients, in turn; the loop runs until all are parked again.

    Twice: each after rounds of its own, so that what 10,000 clients leave in the processor's caches is on one side; and
    both after a round of the 10,000, so that it is on both.
    """
    return asyncio.run(_constant_time())


async def _constant_time() -> list[Line]:
    groups = {count: Clients(make_broadcaster("ours", buffer_size=0)) for count in (1, MANY)}
    for count, clients in groups.items():
        await clients.start(count)
    costs: dict[int, list[float]] = {count: [] for count in groups}
    warm = []
    for _ in range(ROUNDS):
        for count, clients in groups.items():
            await _round(groups[MANY])
            costs[count].append(await _round(clients))
        await _round(groups[1])
        warm.append(await _round(groups[1]))
    for clients in groups.values():
        await clients.stop()
    one, many, one_warm = median(costs[1]), median(costs[MANY]), median(warm)
    what = f"broadcast() with {MANY:,} parked clients over with 1"
    detail = f"{many:,.0f} ns over {one:,.0f} ns"
    detail_warm = f"{many:,.0f} ns over {one_warm:,.0f} ns"
    return [
        at_most(f"{what}, the 1 with warm caches", 1.2, many / one_warm, detail_warm),
        at_most(f"{what}, equally cold caches", 1.2, many / one, detail),
    ]


async def _round(clients: Clients) -> float:
    """Broadcast, and let all clients read; returns nanoseconds per call."""
    broadcast = clients.broadcaster.broadcast
    start = perf_counter_ns()
    for _ in range(CALLS):
        broadcast(EVENT, PAYLOAD)
    cost = (perf_counter_ns() - start) / CALLS
    await clients.parked(clients.received + CALLS * clients.count)
    return cost


def one_broadcast() -> list[Line]:
    """One call with 1,000 parked clients, at once after they have parked, and after 2 ms of idle.

    Blocks of 40 calls to the original and to ours in turn.
    """
    return asyncio.run(_one_broadcast(0, 100)) + asyncio.run(_one_broadcast(0.002, 30))


async def _one_broadcast(idle: float, bound: float) -> list[Line]:
    groups = {which: Clients(make_broadcaster(which)) for which in common.IMPLEMENTATIONS}
    for clients in groups.values():
        await clients.start(PARKED)
    costs: dict[str, list[float]] = {which: [] for which in groups}
    for _ in range(SAMPLE_BLOCKS):
        for which, clients in groups.items():
            for _ in range(SAMPLES):
                if idle:
                    await asyncio.sleep(idle)
                start = perf_counter_ns()
                clients.broadcaster.broadcast(EVENT, PAYLOAD)
                costs[which].append(perf_counter_ns() - start)
                await clients.parked(clients.received + PARKED)
    for clients in groups.values():
        await clients.stop()
    original, ours = median(costs["original"]) / 1000, median(costs["ours"]) / 1000
    what = f"broadcast() of a 120-byte dict to {PARKED:,} parked clients, "
    what += f"after {idle * 1000:g} ms of idle" if idle else "no idle time"
    return [at_least(what, bound, original / ours, f"{original:,.1f} us over {ours:,.2f} us")]


def formatting() -> list[Line]:
    """_format_sse() of both in turn."""
    functions = {which: make_broadcaster(which)._format_sse for which in common.IMPLEMENTATIONS}
    lines = []
    for name, (data, bound) in FORMATTED.items():
        costs: dict[str, list[float]] = {which: [] for which in functions}
        for _ in range(51):
            for which, function in functions.items():
                costs[which].append(_time(function, data, 2000))
        original, ours = median(costs["original"]), median(costs["ours"])
        lines.append(
            at_least(f"formatting alone: {name}", bound, original / ours, f"{original:,.0f} ns over {ours:,.0f} ns")
        )
    return lines


def _time(function: Any, data: Any, calls: int) -> float:
    start = perf_counter_ns()
    for _ in range(calls):
        function(EVENT, data)
    return (perf_counter_ns() - start) / calls


def frames_held() -> list[Line]:
    return asyncio.run(_frames_held())


async def _frames_held() -> list[Line]:
    clients = Clients(make_broadcaster("ours"))
    await clients.start(PARKED)
    for _ in range(CALLS):
        clients.broadcaster.broadcast(EVENT, PAYLOAD)
    await clients.parked(CALLS * PARKED)
    frames = clients.broadcaster.stats()["log_events"]
    await clients.stop()
    return [Line("frames held when every client has read everything", "0", str(frames), frames == 0)]
