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
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .broadcaster import Broadcaster

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_FAREWELL = 0.1  # seconds for the last chunks to leave before a default action ends the process
_PATIENCE = 1.0  # seconds for the streams to end before that

_watches: dict[asyncio.AbstractEventLoop, Watch] = {}
_ending: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def enter(broadcaster: Broadcaster, loop: asyncio.AbstractEventLoop | None) -> Place | None:
    """Note that there will be a stream on `loop`, and be ready for signals from now on.

    To be called before the response's head is sent: a client that has seen it may expect that Ctrl-C ends its stream.
    Returns None where there is nothing to watch.
    """
    if loop is None or not broadcaster._graceful_exit or threading.current_thread() is not threading.main_thread():
        return None
    watch = _watches.get(loop)
    if watch is None:
        for closed in [other for other in _watches if other.is_closed()]:
            _watches.pop(closed).put_back()  # its streams were dropped, not ended
        watch = _watches[loop] = Watch(loop)
    watch.enter(broadcaster)
    return Place(watch, broadcaster)


def forget() -> None:
    """In the child of a fork: the loops are the parent's, and signals do what they did before there were streams."""
    for watch in list(_watches.values()):
        watch.put_back()
    _watches.clear()


class Place:
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


class Handler:
    """A signal handler of ours, in front of the one that it found."""

    def __init__(self, watch: Watch, previous: Any) -> None:
        self.watch = watch
        self.previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        # This may interrupt anything, our own C code included, so the work is left to the loop.
        by_default = self.previous is signal.SIG_DFL
        try:
            self.watch.loop.call_soon_threadsafe(self.watch.end, number if by_default else None)
        except RuntimeError:  # the loop is closed
            if by_default:
                _default_action(number)
        if callable(self.previous):
            self.previous(number, frame)


def _default_action(number: int) -> None:
    """Let the signal do what it does where nobody handles it, whoever stands in front of us by now."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


class Watch:
    """The streams of one event loop, and the signal handlers that they have put in place."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # By identity, since a subclass may compare by value, and weakly, since their streams may be garbage with them.
        self._broadcasters: weakref.WeakValueDictionary[int, Broadcaster] = weakref.WeakValueDictionary()
        self._streams: Counter[int] = Counter()
        self._handlers: dict[signal.Signals, Handler] = {}
        self._raise_again: int | None = None

    def enter(self, broadcaster: Broadcaster) -> None:
        self._broadcasters[id(broadcaster)] = broadcaster
        self._streams[id(broadcaster)] += 1
        for number in _SIGNALS:
            found = signal.getsignal(number)
            # None: somebody's handler in C, which we could not put back.
            if found is not None and found is not self._handlers.get(number):
                self._handlers[number] = Handler(self, found)
                signal.signal(number, self._handlers[number])

    def leave(self, broadcaster: int) -> None:
        self._streams[broadcaster] -= 1
        if not self._streams[broadcaster]:
            del self._streams[broadcaster]
            self._broadcasters.pop(broadcaster, None)
        if self._streams:
            return
        if self._raise_again is None:
            self.put_back()
        elif not self.loop.is_closed():
            self.loop.call_later(_FAREWELL, self._raise)

    def end(self, raise_again: int | None) -> None:
        """The signal has come; on the loop."""
        _ending.add(self.loop)
        if raise_again is not None:
            self._raise_again = raise_again
            self.loop.call_later(_PATIENCE if self._streams else _FAREWELL, self._raise)
        for broadcaster in list(self._broadcasters.values()):
            broadcaster._end_streams(self.loop)

    def put_back(self) -> None:
        """Take our handlers away. Possible on the main thread alone; elsewhere the next stream finds them in place."""
        if threading.current_thread() is not threading.main_thread():
            return
        _watches.pop(self.loop, None)
        for number, ours in self._handlers.items():
            previous = ours.previous
            while isinstance(previous, Handler) and previous.watch.loop not in _watches:
                previous = previous.previous  # of a loop whose streams ended before ours
            if signal.getsignal(number) is ours:
                signal.signal(number, previous)
        self._handlers.clear()

    def _raise(self) -> None:
        number, self._raise_again = self._raise_again, None
        if number is not None:
            self.put_back()
            _default_action(number)
