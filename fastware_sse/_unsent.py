"""The bytes that a server's transport holds back, since the client's socket takes no more for now."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from collections.abc import Callable
from contextlib import suppress

_DELAYS = (0.001, 0.5)  # seconds between two looks: the first, the longest


class Unsent:
    """Of one connection."""

    __slots__ = ("_delay", "_least", "_loop", "_patience", "_since", "_timer", "_transport")

    def __init__(
        self, transport: asyncio.WriteTransport, loop: asyncio.AbstractEventLoop, patience: float | None
    ) -> None:
        """patience: seconds for which they need not become fewer, or None."""
        self._transport = transport
        self._loop = loop
        self._patience = patience
        self._least, self._since = 0, 0.0  # how many there were, and since when they have not become fewer
        self._delay = _DELAYS[0]
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, look_again: Callable[[], None], stuck: Callable[[], None]) -> bool:
        """Whether there are some. Then look_again() is called soon, and is to call this again; or stuck(), since they
        have not become fewer for too long. Both are called by the loop."""
        size, now = self._size(), self._loop.time()
        if size == 0:
            self._least, self._delay = 0, _DELAYS[0]
            return False
        if size < self._least or self._least == 0:
            self._since = now
        self._least = size
        if self._patience is not None and now - self._since >= self._patience:
            self._loop.call_soon(self._judge, look_again, stuck)
        elif self._timer is None:
            self._timer = self._loop.call_later(self._delay, self._call, look_again)
            self._delay = min(2 * self._delay, _DELAYS[1])
        return True

    def forget(self) -> None:
        """Nobody needs to be told any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _call(self, look_again: Callable[[], None]) -> None:
        self._timer = None
        look_again()

    def _judge(self, look_again: Callable[[], None], stuck: Callable[[], None]) -> None:
        if self._size() < self._least:  # in this very turn
            look_again()
        else:
            stuck()

    def _size(self) -> int:
        """With what the kernel holds, if there are any: it takes more only once a third of its buffer is free, and who
        reads slowly is not stuck."""
        size = self._transport.get_write_buffer_size()
        if size == 0:
            return 0
        with suppress(OSError, ValueError):  # closed
            descriptor = self._transport.get_extra_info("socket").fileno()
            size += int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        return size
