"""Deadlines for sends that are blocked: one timer for all streams of a loop, none for a send that does not wait."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Sender(Protocol):
    def expire(self) -> None: ...


class Deadlines:
    """Tells whoever has been inside a send for `seconds`. One for each event loop, and used in its callbacks and tasks.

    The time is the same for all, so the order of the calls to `begin` is the order in which they are due, and the timer
    serves the first. With `seconds` None nothing is ever due. The loop is not kept alive.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._sending: dict[Sender, float] = {}
        self._ticking = False

    def begin(self, sender: Sender) -> None:
        """A send begins; `sender.expire()` is called if `end` does not come in time."""
        if self._seconds is None:
            return
        loop = asyncio.get_running_loop()
        self._sending[sender] = loop.time() + self._seconds
        if not self._ticking:
            self._ticking = True
            loop.call_later(self._seconds, self._tick)

    def end(self, sender: Sender) -> None:
        self._sending.pop(sender, None)

    def _tick(self) -> None:
        self._ticking = False
        loop = asyncio.get_running_loop()
        now = loop.time() + 0.001  # loops may call a little early
        while self._sending:
            sender, due = next(iter(self._sending.items()))
            if due > now:
                self._ticking = True
                loop.call_at(due, self._tick)
                return
            del self._sending[sender]
            sender.expire()
