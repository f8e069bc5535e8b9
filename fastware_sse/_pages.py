"""What lies far back in a stream, read once for all who ask: one read at a time, and what was read lately is kept.

Clients that come back together stand in many places. A read begins where the first of them waits, counted from the
end of the last read, and serves all who wait within what it has brought. At its end they ask for the same. So a
thousand clients soon go from page to page together, wherever they began.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import deque
from typing import NamedTuple

from ._outage import Backoff, Outage
from .backplane import PAGE_BYTES, Backplane, Entry, Page, PositionLost, decoded

_FIRST_ENTRIES, _MOST_ENTRIES = 32, 256
_KEPT_BYTES = 4 * 1024 * 1024
_ENTRY_BYTES = 400  # beside its data
_KEPT_FOR = 10.0  # seconds after the last read
_CLOSED = "the stream is another by now, or was left"


class Run(NamedTuple):
    """What one read has brought: everything behind `start`, a place in the stream, up to the last of `keys`."""

    start: int
    keys: list[int]
    entries: list[Entry]
    size: int

    def behind(self, key: int) -> list[Entry]:
        """Nothing, unless that is one of its places: what stands between two may be what the stream has lost."""
        at = bisect_right(self.keys, key)
        is_place = self.keys[at - 1] == key if at else key == self.start
        return self.entries[at:] if is_place else []


class Waiting(NamedTuple):
    key: int
    position: str
    page: asyncio.Future[Page]


class Pages:
    """Of one stream, in one epoch. On the background thread's loop alone."""

    def __init__(self, backplane: Backplane, epoch: str, outage: Outage) -> None:
        self._backplane = backplane
        self._epoch = epoch
        self._outage = outage
        self._runs: list[Run] = []  # in the order of their starts
        self._by_age: deque[Run] = deque()
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[Waiting] = []
        self._reader: asyncio.Task[None] | None = None
        self._at = 0  # the end of the last read
        self._asks = _FIRST_ENTRIES
        self._is_closed = False

    async def page(self, position: str) -> Page:
        """The entries right behind `position`: at least one, unless the stream ends there. Not to be changed, since
        others get them too.

        Raises PositionLost, and waits as long as the server is away.
        """
        if self._is_closed:
            raise PositionLost(_CLOSED)
        key = decoded(position)
        at = bisect_right(self._runs, key, key=_start)
        if at and (entries := self._runs[at - 1].behind(key)):
            return Page(entries, False)
        waiting = Waiting(key, position, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        return await waiting.page

    def close(self) -> None:
        """Whoever waits, and whoever asks later, gets PositionLost."""
        self._is_closed = True
        if self._reader is not None:
            self._reader.cancel()
        if self._timer is not None:
            self._timer.cancel()
        for waiting in self._still_waiting():
            waiting.page.set_exception(PositionLost(_CLOSED))
        self._drop()

    def _still_waiting(self) -> list[Waiting]:
        self._waiting = [waiting for waiting in self._waiting if not waiting.page.done()]
        return self._waiting

    async def _read(self) -> None:
        backoff = Backoff()
        while self._still_waiting():
            # Onwards from the last, and around: nobody waits for ever behind others who come further back.
            first = min(self._waiting, key=lambda waiting: (waiting.key < self._at, waiting.key))
            try:
                page = await self._backplane.page(self._epoch, first.position, self._asks)
            except PositionLost as error:
                for waiting in self._still_waiting():
                    if waiting.key == first.key:
                        waiting.page.set_exception(PositionLost(str(error)))
            except Exception as error:
                self._at = first.key + 1  # it may be the one that cannot be read: the others go on
                self._asks = max(1, self._asks // 2)  # and what was asked for may be too much for the time there is
                self._outage.begin("paging", error)
                await backoff.wait()
            else:
                self._outage.end("paging")
                self._serve(first.key, *page)
        self._outage.end("paging")
        self._reader = None
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_KEPT_FOR, self._drop)

    def _serve(self, start: int, entries: list[Entry], is_last: bool) -> None:
        run = Run(start, [decoded(entry.position) for entry in entries], entries, sum(map(_size, entries)))
        self._at = run.keys[-1] if entries else start
        for waiting in self._still_waiting():
            found = run.behind(waiting.key)
            if found or waiting.key == start:
                waiting.page.set_result(Page(found, is_last))
        if entries:
            self._asks = max(1, min(_MOST_ENTRIES, self._asks * 2, PAGE_BYTES * len(entries) // run.size))
            self._keep(run)

    def _keep(self, run: Run) -> None:
        insort(self._runs, run, key=_start)
        self._by_age.append(run)
        self._size += run.size
        while self._size > _KEPT_BYTES:
            oldest = self._by_age.popleft()
            del self._runs[bisect_left(self._runs, oldest.start, key=_start)]
            self._size -= oldest.size

    def _drop(self) -> None:
        self._runs.clear()
        self._by_age.clear()
        self._size = 0


def _start(run: Run) -> int:
    return run.start


def _size(entry: Entry) -> int:
    return len(entry.data) + _ENTRY_BYTES
