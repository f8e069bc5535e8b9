"""Graceful exit: SIGINT and SIGTERM end the streams of the main thread's loop, then do what they did before.

Servers wait for open responses before they tell anybody that they stop, so without this an open stream keeps them
waiting for ever. While streams are open on the main thread's loop, a handler of ours stands in front of the server's.
The streams put it in place themselves, since servers install theirs late, and the last of them takes it away.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .broadcaster import Broadcaster

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_FAREWELL = 0.1  # seconds for the last chunks to leave before a default action ends the process
_PATIENCE = 1.0  # seconds for the streams to end before that

_watches: dict[asyncio.AbstractEventLoop, Watch] = {}
_ending: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def enter(broadcaster: Broadcaster, loop: asyncio.AbstractEventLoop | None) -> Entry | None:
    """Note that there will be a stream on `loop`, and be ready for signals from now on.

    To be called before the response's head is sent: a client that has seen it may expect that Ctrl-C ends its stream.
    Returns None where there is nothing to watch.
    """
    if loop is None or not broadcaster._graceful_exit or threading.current_thread() is not threading.main_thread():
        return None
    watch = _watches.get(loop)
    if watch is None:
        for closed in [other for other in _watches if other.is_closed()]:
            del _watches[closed]  # its streams were dropped, not ended
        watch = _watches[loop] = Watch(loop)
    watch.enter(broadcaster)
    return Entry(watch, broadcaster)


class Entry:
    """One stream's place in a Watch, until it leaves or is collected: a response may never be iterated."""

    __slots__ = ("_broadcaster", "_watch")

    def __init__(self, watch: Watch, broadcaster: Broadcaster) -> None:
        self._watch: Watch | None = watch
        self._broadcaster = id(broadcaster)

    @property
    def is_late(self) -> bool:
        """Whether the signal has come: the server waits for this stream, so it must end at once."""
        return self._watch is not None and self._watch.loop in _ending

    def leave(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.leave(self._broadcaster)

    __del__ = leave


class Watch:
    """The streams of one event loop, and the signal handlers that they have put in place."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # By identity, since a subclass may compare by value, and weakly, since their streams may be garbage with them.
        self._broadcasters: weakref.WeakValueDictionary[int, Broadcaster] = weakref.WeakValueDictionary()
        self._streams: Counter[int] = Counter()
        self._handlers: dict[signal.Signals, tuple[Callable[[int, FrameType | None], None], Any]] = {}
        self._raise_again: int | None = None

    def enter(self, broadcaster: Broadcaster) -> None:
        self._broadcasters[id(broadcaster)] = broadcaster
        self._streams[id(broadcaster)] += 1
        for number in _SIGNALS:
            found = signal.getsignal(number)
            ours, _ = self._handlers.get(number, (None, None))
            # None: somebody's handler in C, which we could not put back.
            if found is not None and found is not ours:
                handler = self._handler(found)
                signal.signal(number, handler)
                self._handlers[number] = handler, found

    def leave(self, broadcaster: int) -> None:
        self._streams[broadcaster] -= 1
        if not self._streams[broadcaster]:
            del self._streams[broadcaster]
            self._broadcasters.pop(broadcaster, None)
        if not self._streams:
            _watches.pop(self.loop, None)
            if self._raise_again is None:
                self._put_back()
            elif not self.loop.is_closed():
                self.loop.call_later(_FAREWELL, self._default_action)

    def _handler(self, previous: Any) -> Callable[[int, FrameType | None], None]:
        def on_signal(number: int, frame: FrameType | None) -> None:
            # This may interrupt anything, our own C code included, so the work is left to the loop.
            try:
                self.loop.call_soon_threadsafe(self._end, number if previous is signal.SIG_DFL else None)
            except RuntimeError:  # the loop is closed
                if previous is signal.SIG_DFL:
                    self._raise_again = number
                    self._default_action()
            if callable(previous):
                previous(number, frame)

        return on_signal

    def _end(self, raise_again: int | None) -> None:
        _ending.add(self.loop)
        if raise_again is not None:
            self._raise_again = raise_again
            self.loop.call_later(_PATIENCE if self._streams else _FAREWELL, self._default_action)
        for broadcaster in list(self._broadcasters.values()):
            broadcaster._end_streams(self.loop)

    def _put_back(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only there can it be done; the handler that stays still calls the one before it
        for number, (ours, previous) in self._handlers.items():
            if signal.getsignal(number) is ours:
                signal.signal(number, previous)
        self._handlers.clear()

    def _default_action(self) -> None:
        number, self._raise_again = self._raise_again, None
        if number is not None:
            self._put_back()
            signal.raise_signal(number)
