"""A backplane in the memory of this process, and the ways in which its server can fail."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from fastware_sse.backplane import Backplane, Entry, EntryTooLarge, Item, Page, PositionLost, decoded, encoded

TOO_LARGE = 100_000  # bytes


class Server:
    """One stream, which any number of Memory objects read and write. On the background thread's loop alone, but for
    what a test changes while nothing happens there."""

    def __init__(self) -> None:
        self.epochs = 1
        self.entries: list[Entry] = []
        self.exists = True
        self.last = 0
        self.trimmed = 0  # everything up to here is gone
        self.published: dict[str, int] = {}  # the last counter of each publisher
        self.away: Exception | None = None
        self.refuses: Exception | None = None  # publishing alone
        self.forgets_to_answer = 0  # batches that are added although an error comes back
        self.batches: list[list[int]] = []
        self.pages: list[int] = []  # where each page was read
        self.slow = 0.0  # seconds for a page
        self._changed = asyncio.Condition()

    @property
    def epoch(self) -> str:
        return encoded(self.epochs, 13)

    def in_child(self) -> None:
        """Of a fork: for the loop there."""
        self._changed = asyncio.Condition()

    def add(self, event: str, data: bytes) -> None:
        self.last += 1
        self.entries.append(Entry(encoded(self.last, 13), event, data))

    def fill(self, number: int) -> None:
        for index in range(number):
            self.add("message", b"%d" % index)

    def trim(self) -> None:
        self.entries.clear()
        self.trimmed = self.last

    def delete(self) -> None:
        self.exists = False

    def lose(self, number: int) -> None:
        """A failover to a replica that had not got the last ones."""
        del self.entries[-number:]
        self.last -= number

    async def wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, position: int) -> None:
        """Wait until there is something behind it, or trouble."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.away or not self.exists or self.last != position)


class Memory(Backplane):
    digits = 13

    def __init__(self, server: Server, name: str = "memory") -> None:
        self.server = server
        self.name = name
        self.opened = self.closed = 0

    def __str__(self) -> str:
        return self.name

    def check(self) -> None:
        if self.server.away is not None:
            raise self.server.away

    async def open(self) -> None:
        self.opened += 1
        self.check()

    async def close(self) -> None:
        self.closed += 1

    async def epoch(self) -> str:
        self.check()
        server = self.server
        if not server.exists:
            server.exists = True
            server.epochs += 1
            server.entries, server.last, server.trimmed = [], 0, 0
        return server.epoch

    async def renewed(self, epoch: str) -> str:
        self.check()
        self.server.epochs += epoch == self.server.epoch
        return self.server.epoch

    async def last(self) -> str:
        self.check()
        return encoded(self.server.last, 13)

    async def covers(self, epoch: str, position: str) -> bool:
        self.check()
        server = self.server
        return server.exists and epoch == server.epoch and server.trimmed <= decoded(position) <= server.last

    async def page(self, epoch: str, position: str, n: int) -> Page:
        self.server.pages.append(decoded(position))
        await asyncio.sleep(self.server.slow)
        if not await self.covers(epoch, position):
            raise PositionLost("gone")
        at = decoded(position) - self.server.trimmed
        entries = self.server.entries[at : at + n]
        return Page(entries, len(entries) < n)

    async def tail(self, epoch: str, position: str) -> AsyncIterator[list[Entry]]:
        at = position
        while True:
            entries, _ = await self.page(epoch, at, 100)
            if entries:
                at = entries[-1].position
                yield entries
            else:
                await self.server.until(decoded(at))

    async def publish(self, publisher: str, batch: Sequence[Item]) -> None:
        self.check()
        server = self.server
        if server.refuses is not None:
            raise server.refuses
        if not server.exists:
            raise PositionLost("no stream")
        for item in batch:
            if len(item.data) > TOO_LARGE:
                raise EntryTooLarge("too large", item.counter)
        server.batches.append([item.counter for item in batch])
        for item in batch:
            if item.counter > server.published.get(publisher, 0):
                server.add(item.event, item.data)
                server.published[publisher] = item.counter
        await server.wake()
        if server.forgets_to_answer:
            server.forgets_to_answer -= 1
            raise ConnectionResetError("in the middle of an answer")
