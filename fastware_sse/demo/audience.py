"""Who listens to the demo: browsers, which are counted, and synthetic clients, which are made up to give it load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from fastware import Request, StreamResponse

if TYPE_CHECKING:
    from fastware_sse import Broadcaster
    from fastware_sse._core import Subscription

PULSE = 0.25  # seconds between two `stats` events
GRACE = 5.0  # seconds without a browser after which the load ends; one that reconnects is back sooner


class Audience:
    """Counts what is delivered, tells the pages four times a second, and makes load while a browser is there.

    `delivered` are the events that streams have handed on: those of synthetic clients, and those of browsers.
    For the event loop's thread only.
    """

    def __init__(self, broadcaster: Broadcaster) -> None:
        broadcaster.register_event("load")
        broadcaster.register_event("stats")
        self.delivered = 0
        self.rate = 0  # `load` events per second
        self._broadcaster = broadcaster
        self._browsers = 0
        self._pages: dict[str, Subscription] = {}
        self._synthetic: list[asyncio.Task[None]] = []
        self._pulse: asyncio.Task[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._number = 0

    @property
    def synthetic(self) -> int:
        """The synthetic clients that run."""
        return sum(not task.done() for task in self._synthetic)

    def watch(self, response: StreamResponse, page: str | None) -> StreamResponse:
        """Return the response of sse_route(), now counted; `page` is its name for cut()."""
        subscription = getattr(response, "_subscription", None)
        if subscription is not None:  # None: HEAD, which is not a client
            response.generator = self._watched(response.generator, subscription, page)
        return response

    def cut(self, page: str) -> bool:
        """End the stream of a page, as a restart or a proxy would. Returns whether there was one."""
        subscription = self._pages.get(page)
        if subscription is not None:
            subscription.finish()
        return subscription is not None

    def set_load(self, clients: int, rate: int) -> None:
        """Have so many synthetic clients from now on, and so many `load` events per second."""
        self._synthetic = [task for task in self._synthetic if not task.done()]
        while len(self._synthetic) > clients:
            self._synthetic.pop().cancel()
        while len(self._synthetic) < clients:
            self._synthetic.append(asyncio.create_task(self._listen()))
        if rate != self.rate:
            self.rate = rate
            if self._sender is not None:
                self._sender.cancel()
            self._sender = asyncio.create_task(self._send()) if rate else None
        self._keep_beating()

    async def stop(self) -> None:
        """End every task."""
        tasks = [*self._synthetic, *filter(None, [self._pulse, self._sender])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watched(
        self, chunks: AsyncGenerator[str, None], subscription: Subscription, page: str | None
    ) -> AsyncGenerator[str, None]:
        self._browsers += 1
        if page is not None:
            self._pages[page] = subscription
        self._keep_beating()
        try:
            async for chunk in chunks:
                self.delivered += chunk.count("\n\n")  # sse_route() puts several events into a chunk
                yield chunk
        finally:
            self._browsers -= 1
            if page is not None and self._pages.get(page) is subscription:
                del self._pages[page]
            await chunks.aclose()

    async def _listen(self) -> None:
        """A synthetic client: everything that a browser's stream does, but for the socket."""
        response = await self._broadcaster.stream(Request({"type": "http", "method": "GET"}, {}, None))
        async for _ in response.generator:
            self.delivered += 1

    async def _send(self) -> None:
        """Broadcast `load` events, each at its time."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._number += 1
            self._broadcaster.broadcast("load", {"number": self._number, "sent": time.time()})
            due += 1 / self.rate
            await asyncio.sleep(due - loop.time())

    def _keep_beating(self) -> None:
        if self._pulse is None or self._pulse.done():
            self._pulse = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        """Broadcast `stats` while somebody is there, and end the load when nobody is."""
        loop = asyncio.get_running_loop()
        last_seen = loop.time()
        while self._browsers or loop.time() < last_seen + GRACE:
            if self._browsers:
                last_seen = loop.time()
            self._broadcaster.broadcast(
                "stats",
                {
                    "clients": self._broadcaster.client_count,
                    "synthetic": self.synthetic,
                    "rate": self.rate,
                    "delivered": self.delivered,
                    "sent": time.time(),
                },
            )
            await asyncio.sleep(PULSE)
        self.set_load(0, 0)
