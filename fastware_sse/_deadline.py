"""Deadlines for sends that are blocked: one timer for all streams of a loop, none for a send that does not wait."""

from __future__ import annotations

import asyncio
import weakref
from typing import Protocol


class Sending(Protocol):
    def expire(self) -> None: ...


class Deadlines:
    """Tells whoever has been inside a send for `seconds`. For one event loop, and used in its callbacks and tasks.

    The time is the same for all, so the order of the calls to `begin` is the order in which they are due, and the timer
    serves the first. With `seconds` None nothing is ever due. The loop is not kept alive.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._due: dict[Sending, float] = {}
        self._ticking = False

    def begin(self, sender: Sending) -> None:
        """A send begins; `sender.expire()` is called if `end` does not come in time."""
        if self._seconds is None:
            return
        loop = asyncio.get_running_loop()
        self._due[sender] = loop.time() + self._seconds
        if not self._ticking:
            self._ticking = True
            loop.call_later(self._seconds, self._tick)

    def end(self, sender: Sending) -> None:
        self._due.pop(sender, None)

    def _tick(self) -> None:
        self._ticking = False
        loop = asyncio.get_running_loop()
        now = loop.time() + 0.001  # loops may call a little early
        while self._due:
            sender, due = next(iter(self._due.items()))
            if due > now:
                self._ticking = True
                loop.call_at(due, self._tick)
                return
            del self._due[sender]
            sender.expire()


_deadlines: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, weakref.WeakValueDictionary[float | None, Deadlines]
] = weakref.WeakKeyDictionary()


def deadlines_of(loop: asyncio.AbstractEventLoop, seconds: float | None) -> Deadlines:
    """What all sends on `loop` that may take `seconds` share, for as long as one of them or its timer holds it."""
    of_loop = _deadlines.get(loop)
    if of_loop is None:
        of_loop = _deadlines[loop] = weakref.WeakValueDictionary()
    found = of_loop.get(seconds)
    if found is None:
        found = of_loop[seconds] = Deadlines(seconds)
    return found
