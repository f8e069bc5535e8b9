"""The one thread of a process that talks to servers, and its event loop. Both last as long as they have users."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import Context
from typing import Any, Protocol, TypeVar

from ._lookup import Loop

FLUSH_LIMIT = 5.0  # seconds that a user may take to do what is left to do
_END_LIMIT = FLUSH_LIMIT + 2.0
_AGAIN = 0.25  # seconds until what was cancelled and goes on is cancelled again

T = TypeVar("T")

_lock = threading.RLock()  # held for moments; again by a signal handler, or by the collector
_background: Background | None = None
_is_over = False  # the interpreter ends


class User(Protocol):
    async def run(self) -> None:
        """What it does, in a task of the loop, until it is cancelled."""

    async def finish(self) -> None:
        """Do what is left to do, within FLUSH_LIMIT, while run() goes on."""

    async def leave(self) -> None:
        """After run()."""

    def give_up(self) -> None:
        """Nobody waits any more for what was left to do. From any thread, while the loop may be held up."""


class Background:
    """To be made by enter() alone."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=Loop)
        self._over = asyncio.Event()
        self._tasks: dict[User, asyncio.Task[None]] = {}
        self._ending: dict[User, asyncio.Event] = {}
        # In empty contexts, here and in add(): the first request's would live as long as the thread, and the task.
        self.loop = Context().run(self._runner.get_loop)
        self.users: set[User] = set()
        self.thread = threading.Thread(target=self._run, name="fastware_sse backplane", daemon=True)

    def start(self) -> None:
        """Raises RuntimeError where there can be no thread more."""
        try:
            self.thread.start()
        except BaseException:
            self.loop.close()  # a loop may be running on this thread, which Runner.close() could not bear
            raise

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._wait_for_the_last())

    async def _wait_for_the_last(self) -> None:
        await self._over.wait()

    def add(self, user: User) -> None:
        self.users.add(user)
        self.loop.call_soon_threadsafe(self._begin, user, context=Context())

    def _begin(self, user: User) -> None:
        if user in self.users and user not in self._tasks:  # a signal handler may have added it in between
            self._tasks[user] = self.loop.create_task(user.run())

    async def end(self, *users: User) -> None:
        """Let them finish at the same time, and forget them. Idempotent; on the loop."""
        await asyncio.gather(*(self._end(user) for user in users))

    async def _end(self, user: User) -> None:
        if user not in self.users:
            return
        if user in self._ending:  # somebody else lets it finish
            await self._ending[user].wait()
            return
        self._ending[user] = asyncio.Event()
        self._begin(user)  # if its turn has not come yet
        task = self._tasks[user]
        try:
            await user.finish()
            while not task.done():  # redis-py, nats-py and Python 3.11 swallow a cancellation now and then
                task.cancel()
                await asyncio.wait({task}, timeout=_AGAIN)
            await user.leave()
        finally:
            del self._tasks[user]
            self._ending.pop(user).set()
            _remove(self, user)

    def stop(self) -> None:
        self._over.set()

    def wait(self, ended: Future[None], *users: User) -> None:
        """Wait for their end; and for the thread if they were the last."""
        if threading.current_thread() is self.thread:
            return
        deadline = time.monotonic() + _END_LIMIT
        try:
            ended.result(_END_LIMIT)
        except (TimeoutError, concurrent.futures.CancelledError):  # the latter by the loop's own end
            for user in users:
                user.give_up()
        if not self.users:
            self.thread.join(max(0.0, deadline - time.monotonic()))


def enter(user: User) -> asyncio.AbstractEventLoop:
    """The loop, on which `user` runs from now on; from any thread, as everything below.

    Raises RuntimeError where the interpreter ends.
    """
    global _background
    with _lock:
        if _is_over:
            raise RuntimeError("the interpreter ends: nothing can be published any more")
        if _background is None:
            background = Background()
            background.start()
            _background = _background or background
            if _background is not background:  # a signal handler was faster
                background.loop.call_soon_threadsafe(background.stop)
        if user not in _background.users:
            _background.add(user)
        return _background.loop


def submit(user: User, function: Callable[..., Coroutine[Any, Any, T]], /, *args: Any) -> Future[T] | None:
    """Run it on the loop; None if `user` has not entered, or has finished."""
    with _lock:
        if _background is None or user not in _background.users:
            return None
        return asyncio.run_coroutine_threadsafe(function(*args), _background.loop)


def end(user: User, *, wait: bool) -> None:
    """Let `user` finish; and wait for that, but no longer than it may take. What has not entered gives up.

    A signal handler in the middle of what is above does not wait: nobody can finish then.
    """
    background = _background
    ended = None if background is None else submit(user, background.end, user)
    if background is None or ended is None:
        user.give_up()
    elif wait and not _lock._is_owned():  # type: ignore[attr-defined]
        background.wait(ended, user)


def users() -> set[User]:
    """Those that have entered, and not finished."""
    return set() if _background is None else set(_background.users)


def forget() -> None:
    """In the child of a fork: start over, without a thread.

    The parent's loop is not freed here, nor what stands on it: the thread that is missing had them in its frames, which
    are never taken down. Else the end of its connections would reach the parent, by the selector that both have.
    """
    global _background, _lock
    _lock = threading.RLock()
    _background = None


def _remove(background: Background, user: User) -> None:
    global _background
    with _lock:
        background.users.discard(user)
        if not background.users:
            background.stop()
            _background = None


def _of_executors() -> set[threading.Thread]:
    """Those that concurrent.futures tells to end at the interpreter's end: it may have its turn after us."""
    process = sys.modules.get("concurrent.futures.process")  # a large module, so not imported for this
    return {*concurrent.futures.thread._threads_queues, *(process._threads_wakeups if process else ())}


def _exit() -> None:
    """What other threads still broadcast is published too: the interpreter waits for all but daemon threads.

    Not for those of executors, which end when they are told to, and by then no loop could look up a name any more.
    """
    global _is_over
    others = {*_of_executors(), threading.current_thread(), threading.main_thread()}
    for thread in threading.enumerate():
        if not thread.daemon and thread not in others:
            thread.join()
    _is_over = True
    with _lock:  # its last user may be leaving
        background = _background
        if background is None:
            return
        last = tuple(background.users)
        ended = asyncio.run_coroutine_threadsafe(background.end(*last), background.loop)
    background.wait(ended, *last)


# Before the interpreter's end. What atexit knows comes later, when a loop can start no thread to look up a name. These
# go in reverse, so that of concurrent.futures.thread, imported above, comes after ours.
threading._register_atexit(_exit)  # type: ignore[attr-defined]
