"""Ends streams at a certain age: one heap and one timer for each loop, whatever the number of streams."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import weakref
from typing import Protocol

_YOUNGEST = 0.9  # of the age: each stream draws its own, so that not all come back at once
_SLICE = 64  # streams ended by one callback
_SLACK = 0.001  # seconds by which loops may call early

_count = itertools.count()


class Aging(Protocol):
    def expire(self) -> None: ...


class Age:
    """One stream's place in the heap, until it leaves."""

    __slots__ = ("_ages", "due", "number", "stream")

    def __init__(self, ages: Ages, due: float, stream: Aging) -> None:
        self._ages = ages
        self.due = due
        self.number = next(_count)
        self.stream: Aging | None = stream

    def __lt__(self, other: Age) -> bool:
        return (self.due, self.number) < (other.due, other.number)

    def leave(self) -> None:
        if self.stream is not None:
            self.stream = None
            self._ages.forget()


class Ages:
    """Those of one loop; used in its callbacks and tasks. The loop is not kept alive."""

    def __init__(self) -> None:
        self._heap: list[Age] = []
        self._left = 0  # entries of streams that have left
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, stream: Aging, seconds: float) -> Age:
        """`stream.expire()` is called in `seconds`, or up to a tenth earlier."""
        loop = asyncio.get_running_loop()
        age = Age(self, loop.time() + seconds * random.uniform(_YOUNGEST, 1), stream)
        heapq.heappush(self._heap, age)
        if self._heap[0] is age:
            self._arm(loop)
        return age

    def forget(self) -> None:
        """A stream has left. Its entry goes when it is due, or when half of the heap are such."""
        self._left += 1
        if self._left * 2 > len(self._heap):
            self._heap = [age for age in self._heap if age.stream is not None]
            heapq.heapify(self._heap)
            self._left = 0
            if not self._heap and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._heap[0].due, self._tick) if self._heap else None

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time() + _SLACK
        ended = 0
        try:
            while self._heap and self._heap[0].due <= now and ended < _SLICE:
                age = heapq.heappop(self._heap)
                if age.stream is None:
                    self._left -= 1
                    continue
                stream, age.stream = age.stream, None
                ended += 1
                stream.expire()
        finally:  # where one stream raises, the others are still of age
            self._arm(loop)


# Weak, because the timer of a loop holds the loop.
_ages: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Ages]] = weakref.WeakKeyDictionary()


def ages_of(loop: asyncio.AbstractEventLoop) -> Ages:
    """What all streams of `loop` share, for as long as one of them or the timer holds it."""
    known = _ages.get(loop)
    found = None if known is None else known()
    if found is None:
        found = Ages()
        _ages[loop] = weakref.ref(found)
    return found
