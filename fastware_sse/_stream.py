"""The async generators behind a stream: from a subscription (or a caller's own queue) to chunks, and their cleanup."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from . import _exit
from ._core import Chunk, Subscription

if TYPE_CHECKING:
    from .broadcaster import Broadcaster

_HEARTBEAT = Chunk(": heartbeat\n\n")


def running_loop() -> asyncio.AbstractEventLoop:
    """Raises RuntimeError, with a text that tells what streams need, where there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "fastware_sse streams need a running asyncio event loop (asyncio or uvloop); trio is not supported"
        ) from None


async def event_stream(
    subscription: Subscription, first: list[Chunk], entry: _exit.Entry | None
) -> AsyncGenerator[str, None]:
    """Register at the first step, send `first`, then the events as they come.

    A cancelled step ends the stream instead of raising: the driving loop sees StopAsyncIteration.
    """
    subscription.join(running_loop())
    try:
        if entry is not None and entry.is_late:
            subscription.finish()
        for chunk in first:
            yield chunk
        first = []  # may be large, and the stream may live for days
        while True:
            for chunk in subscription:
                yield chunk
            waiter = subscription.park()
            if waiter is None:
                return
            await waiter
    except asyncio.CancelledError:
        return
    finally:
        subscription.close()
        if entry is not None:
            entry.leave()


async def empty_stream() -> AsyncGenerator[str, None]:
    """Answer HEAD: headers and an end, never a client."""
    return
    yield


def is_event_stream(generator: object) -> bool:
    """Whether `generator` comes from event_stream(), and not from an override of it."""
    return getattr(generator, "ag_code", None) is event_stream.__code__


class QueueStream:
    """One run of queue_stream(): what ends it from outside looks at this."""

    __slots__ = ("getter", "loop", "queue")

    def __init__(self, queue: asyncio.Queue[str], loop: asyncio.AbstractEventLoop) -> None:
        self.queue = queue
        self.loop = loop
        self.getter: asyncio.Task[str] | None = None  # waits for the queue

    def look_again(self) -> None:
        """Whether the queue is still registered; on the stream's own loop."""
        if self.getter is not None:
            self.getter.cancel()


async def queue_stream(
    broadcaster: Broadcaster, queue: asyncio.Queue[str], first: list[Chunk]
) -> AsyncGenerator[str, None]:
    """Send `first`, then what broadcast() puts into `queue`, until that has left `_clients` and is empty."""
    run = QueueStream(queue, running_loop())
    interval = broadcaster._heartbeat_interval
    timeout = None if interval is None else float(interval)  # loops add it to a float, which a Decimal does not bear
    entry = _exit.enter(broadcaster, run.loop)
    if not broadcaster._closed and not (entry is not None and entry.is_late):
        broadcaster._clients.append(queue)
    broadcaster._queue_streams.add(run)
    try:
        for chunk in first:
            yield chunk
        while True:
            if run.getter is None and not queue.empty():
                yield queue.get_nowait()
                continue
            if queue.empty() and queue not in broadcaster._clients:
                return
            if run.getter is None:
                run.getter = run.loop.create_task(queue.get())
            done, _ = await asyncio.wait({run.getter}, timeout=timeout)
            if not done:
                yield _HEARTBEAT
                continue
            getter, run.getter = run.getter, None
            if not getter.cancelled():
                yield getter.result()
    except asyncio.CancelledError:
        return
    finally:
        broadcaster._queue_streams.discard(run)
        run.look_again()
        if queue in broadcaster._clients:
            broadcaster._clients.remove(queue)
        if entry is not None:
            entry.leave()
