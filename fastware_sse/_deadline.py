"""Deadlines for sends that are blocked: one timer for all streams of a loop, none for a send that does not wait."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Sender(Protocol):
    def expire(self) -> None: ...


class Deadlines:
    """Tells whoever has been inside a send for `seconds`. One for each event loop and length of time.

    The time is the same for all, so the order of the calls to `begin` is the order in which they are due, and the timer
    serves the first. With `seconds` None nothing is ever due.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float | None) -> None:
        self._loop = loop
        self._seconds = seconds
        self._sending: dict[Sender, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, sender: Sender) -> None:
        """A send begins; `sender.expire()` is called if neither `end` nor the next `begin` comes in time."""
        if self._seconds is None:
            return
        self._sending.pop(sender, None)  # so that it goes to the end
        self._sending[sender] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._tick)

    def end(self, sender: Sender) -> None:
        self._sending.pop(sender, None)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time() + 0.001  # loops may call a little early
        while self._sending:
            sender, due = next(iter(self._sending.items()))
            if due > now:
                self._timer = self._loop.call_at(due, self._tick)
                return
            del self._sending[sender]
            sender.expire()
