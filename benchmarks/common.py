"""What the measurements inside one process share: the two implementations, the payload, and clients that are tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import fastware.sse

import fastware_sse

EVENT = "update"

# 120 bytes of JSON: what a dashboard sends.
PAYLOAD = {
    "id": 184467,
    "action": "created",
    "price": 1249.5,
    "item": {"name": "espresso machine 2", "tags": ["new", "sale"]},
    "by": "anna.m",
}

IMPLEMENTATIONS: dict[str, Any] = {"original": fastware.sse, "ours": fastware_sse}


def make_broadcaster(which: str, **options: Any) -> Any:
    broadcaster = IMPLEMENTATIONS[which].Broadcaster(**options)
    broadcaster.register_event(EVENT)
    return broadcaster


class Clients:
    """Tasks that read streams of one broadcaster in this process, as a framework would."""

    def __init__(self, broadcaster: Any) -> None:
        self.count = 0
        self.received = 0
        self.broadcaster = broadcaster
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, count: int) -> None:
        for _ in range(count):
            response = await self.broadcaster.stream(None)
            self._tasks.append(asyncio.create_task(self._read(response.generator)))
        self.count += count
        while self.broadcaster.client_count < count:
            await asyncio.sleep(0)

    async def _read(self, generator: AsyncGenerator[str, None]) -> None:
        async for _ in generator:
            self.received += 1

    async def parked(self, received: int) -> None:
        """Give the loop turns until `received` chunks have come. A client waits again in the same step as it takes a
        chunk, so that all of them are parked then."""
        while self.received < received:
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def finish(self) -> None:
        """Of ours: close it, and let each client read to its end."""
        self.broadcaster.close()
        await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
