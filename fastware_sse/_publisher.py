"""What was broadcast, on its way to the stream: in batches, one at a time, in the order of the calls."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable

from ._core import Outbox
from ._outage import Backoff, Outage
from .backplane import Backplane, EntryTooLarge, Item, PositionLost

_BATCH_EVENTS, _BATCH_BYTES = 500, 512 * 1024

_log = logging.getLogger("fastware_sse")


class Publisher:
    """Of one Broadcaster in one process, by whose id and counters the server knows what it has taken already. On the
    background thread's loop alone."""

    def __init__(
        self,
        backplane: Backplane,
        outbox: Outbox,
        outage: Outage,
        contact: asyncio.Event,
        lost: Callable[[], None],
    ) -> None:
        """contact: set while the stream is there. lost() is told that it is not, and clears that."""
        self._backplane = backplane
        self._outbox = outbox
        self._outage = outage
        self._contact = contact
        self._lost = lost
        self._id = secrets.token_hex(8)
        self._more = asyncio.Event()
        self._flushed = asyncio.Event()
        self._too_large = 0  # the counter of an item: a batch ends in front of it, or it is the first
        self.refused = 0

    def wake(self) -> None:
        """There is something in the outbox, which was empty."""
        self._more.set()

    async def run(self) -> None:
        is_lost = False
        while True:
            await self._more.wait()
            self._more.clear()
            backoff = Backoff()
            while batch := [Item._make(item) for item in self._outbox.take(_BATCH_EVENTS, _BATCH_BYTES)]:
                if batch[0].counter < self._too_large:
                    batch = [item for item in batch if item.counter < self._too_large]
                await self._contact.wait()
                try:
                    await self._publish(batch)
                except PositionLost as error:
                    self._lost()
                    if is_lost:  # who looked for it found it, but not for us
                        self._outage.begin("publishing", error)
                        await backoff.wait()
                    is_lost = True
                except Exception as error:
                    self._outage.begin("publishing", error)
                    await backoff.wait()
                else:
                    self._outage.end("publishing")
                    backoff.reset()
                    is_lost = False
            self._flushed.set()

    async def flush(self) -> None:
        """Wait until everything is published."""
        self._flushed.clear()
        self._more.set()
        await self._flushed.wait()

    async def _publish(self, batch: list[Item]) -> None:
        try:
            await self._backplane.publish(self._id, batch)
        except EntryTooLarge as error:
            self._too_large = error.counter
            if error.counter != batch[0].counter:
                return
            _log.error("%s: an event was not published, and is lost: %s", self._backplane, error)
            self.refused += 1
            self._outbox.done(error.counter)
        else:
            self._outbox.done(batch[-1].counter)
