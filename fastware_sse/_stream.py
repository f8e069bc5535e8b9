"""The async generators behind a stream: from a subscription, or a queue of the caller's, to chunks or bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Never, Protocol

from . import _exit, _limits, _workers
from ._core import Chunk
from ._paging import HEARTBEAT, OPENING
from ._session import Initial, MakeInitial, Part, Session

if TYPE_CHECKING:
    from .broadcaster import Broadcaster

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
BODY_BYTES = 65536  # in one body, and sent without the loop having had a turn


def running_loop() -> asyncio.AbstractEventLoop:
    """Raises RuntimeError, with a text that tells what streams need, where there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "fastware_sse streams need a running asyncio event loop (asyncio or uvloop); trio is not supported"
        ) from None


def byte_stream(
    broadcaster: Broadcaster, scope: Mapping[str, Any], initial: Initial, *, head: bool
) -> tuple[AsyncGenerator[bytes, None], Session | None]:
    """event_stream() for frameworks that send bytes, in bodies that all clients share, and its session; to answer HEAD,
    empty_stream(), and none.

    Raises what broadcast() raises for a bad pair in `initial`.
    """
    prepared = initial if callable(initial) else joined(broadcaster._initial_chunks(initial))
    if head:
        return empty_stream(), None
    session = Session(broadcaster, scope)
    session.subscription.coalesce = True
    return event_stream(session, map(Chunk.encode, session.subscription), prepared, joined, merged), session


def joined(chunks: Iterable[Chunk]) -> list[bytes]:
    """The text of the chunks in bodies of at most 64 KiB, a larger chunk alone."""
    groups: list[list[bytes]] = []
    room = -1
    for part in filter(None, (chunk.encode() for chunk in chunks)):
        room -= len(part)
        if room < 0:
            groups.append([])
            room = BODY_BYTES - len(part)
        groups[-1].append(part)
    return [b"".join(parts) for parts in groups]


def merged(bodies: list[bytes]) -> list[bytes]:
    """The beginning of a stream in one body if it is small, and never in none."""
    return [b"".join(bodies) or OPENING.encode()] if sum(map(len, bodies)) <= BODY_BYTES else bodies


async def event_stream(
    session: Session,
    parts: Iterator[Part],
    initial: list[Part] | MakeInitial,
    join: Callable[[list[Chunk]], list[Part]],
    merge: Callable[[list[Part]], list[Part]],
) -> AsyncGenerator[Part, None]:
    """Register at the first step, send what the session begins with, then the events as they come: `parts` is its
    subscription, or reads it.

    A cancelled step ends the stream instead of raising: the driving loop sees StopAsyncIteration.
    """
    unyielded = 0  # characters or bytes sent since the loop had a turn for certain
    subscription = session.subscription
    try:
        session.begin(running_loop())
        offer = session.offer
        while chunks := await session.opening():
            for part in join(chunks):
                session.expect(part)
                yield part
        first = merge(await session.first(initial, join))
        if offer is not None and not first:
            first = join([OPENING])
        initial = []  # may be large, and the stream may live for days
        for part in first:
            session.expect(part)
            yield part
        first = []
        while chunks := await session.replay():
            for part in join(chunks):
                session.expect(part)
                yield part
        chunks = []
        while True:
            for part in parts:
                if offer is not None:
                    offer.expect(part)
                yield part
                unyielded += len(part)
                if unyielded > BODY_BYTES:  # no send need ever have waited
                    unyielded = 0
                    await (subscription.rest() or asyncio.sleep(0))
            waiter = subscription.park()
            if waiter is None:
                return
            if offer is not None:
                offer.parked()
            await waiter
    except asyncio.CancelledError:
        return
    finally:
        session.end()


async def empty_stream() -> AsyncGenerator[Never, None]:
    """Answer HEAD: headers and an end, never a client."""
    return
    yield


def is_event_stream(generator: object) -> bool:
    """Whether `generator` comes from event_stream(), and not from an override of it."""
    return getattr(generator, "ag_code", None) is event_stream.__code__


class Waiting(Protocol):
    """A stream that waits for something else than its subscription, and so has to be told when it is to end."""

    loop: asyncio.AbstractEventLoop

    def end(self) -> None:
        """On that loop."""


class QueueStream:
    """One run of queue_stream()."""

    __slots__ = ("_clients", "_queue", "getter", "loop")

    def __init__(
        self, queue: asyncio.Queue[str], clients: list[asyncio.Queue[str]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.loop = loop
        self.getter: asyncio.Task[str] | None = None  # waits for the queue
        self._queue = queue
        self._clients = clients

    def end(self) -> None:
        """Once it has drained the queue."""
        if self._queue in self._clients:
            self._clients.remove(self._queue)
        if self.getter is not None:
            self.getter.cancel()


async def queue_stream(
    broadcaster: Broadcaster, queue: asyncio.Queue[str], first: list[Chunk]
) -> AsyncGenerator[str, None]:
    """Send `first`, then what broadcast() puts into `queue`, until that has left `_clients` and is empty."""
    run = QueueStream(queue, broadcaster._clients, running_loop())
    interval = broadcaster._heartbeat_interval
    timeout = None if interval is None else float(interval)  # loops add it to a float, which a Decimal does not bear
    place = _exit.enter(broadcaster, run.loop)
    if not broadcaster._closed and not (place is not None and place.is_late):
        broadcaster._clients.append(queue)
    broadcaster._waiting.add(run)
    try:
        _limits.begin()
        _workers.begin()
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
                yield HEARTBEAT
                continue
            getter, run.getter = run.getter, None
            if not getter.cancelled():
                yield getter.result()
    except asyncio.CancelledError:
        return
    finally:
        broadcaster._waiting.discard(run)
        run.end()
        if place is not None:
            place.leave()
