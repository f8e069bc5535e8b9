"""Bytes per parked client: what the stream of one client allocates, counted by tracemalloc and by the core."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from contextlib import suppress
from typing import Any

import common
from common import EVENT, PAYLOAD, make_broadcaster
from result import Line, at_most

from fastware_sse import _core

CLIENTS = 1_000


def per_client() -> list[Line]:
    """Clients that have read one event and wait for the next, driven by hand: no task, and no StreamResponse kept."""
    return asyncio.run(_per_client())


async def _per_client() -> list[Line]:
    for which in common.IMPLEMENTATIONS:
        await _measure(which, 10)  # what is made once: imports, the loop's own objects
    python, core = {}, {}
    for which in common.IMPLEMENTATIONS:
        python[which], core[which] = await _measure(which, CLIENTS)
    total = {which: python[which] + core[which] for which in python}
    detail = f"{total['ours']:,.0f} bytes, {core['ours']:,.0f} of them the core's, over {total['original']:,.0f}"
    return [at_most("memory per parked client", 0.3, total["ours"] / total["original"], detail)]


async def _measure(which: str, count: int) -> tuple[float, float]:
    broadcaster = make_broadcaster(which)
    steps: list[Any] = [None] * count
    generators: list[Any] = [None] * count
    gc.collect()
    core = _core._alloc_live()
    tracemalloc.start()
    for index in range(count):
        generators[index] = (await broadcaster.stream(None)).generator
        steps[index] = generators[index].__anext__()
        steps[index].send(None)  # registers, and waits for the first event
    broadcaster.broadcast(EVENT, PAYLOAD)
    await asyncio.sleep(0.05)
    for index in range(count):
        _finish(steps[index])
        steps[index] = generators[index].__anext__()
        steps[index].send(None)  # waits for the second one
    # The objects that carry a step out belong to whoever drives; they are the same for both.
    await asyncio.sleep(0.05)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    core = _core._alloc_live() - core
    assert broadcaster.client_count == count
    size -= sum(object.__sizeof__(step) + 16 for step in steps)
    for step in steps:
        with suppress(StopAsyncIteration):
            step.throw(asyncio.CancelledError())
    return size / count, core / count


def _finish(step: Any) -> None:
    try:
        step.send(None)
    except StopIteration:
        return
    raise AssertionError("the event has not come")
