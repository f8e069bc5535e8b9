"""Broadcaster: the C type with its streams, and its backplane."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable
from typing import Any

from . import _core
from ._client import Client
from ._fastware import scope_of, stream_response
from ._frameworks import adapter_of
from ._options import (
    checked_backplane,
    checked_buffer,
    checked_flag,
    checked_gap_event,
    checked_hook,
    checked_seconds,
)
from ._relay import Relay
from ._route import sse_route
from ._session import Initial, Pairs, Session
from ._stream import Waiting, empty_stream, event_stream, queue_stream
from .backplane import Backplane

__all__ = ["Broadcaster", "sse_route"]

Hook = Callable[[Client], object]


class Broadcaster(_core.Broadcaster):
    """Manages SSE clients and broadcasts typed events to all of them.

    buffer_size: events that may wait for a client; the broadcast that finds that many waiting prunes it (it still gets
        them, then its stream ends and EventSource reconnects). 0 or less: unbounded.
    strict: broadcasting an event that register_event() has not declared raises ValueError.
    heartbeat_interval: seconds without an event after which a client gets a comment, or None.
    retry: seconds, or a pair (low, high) from which each connection draws, that a browser is told to wait before it
        reconnects (the `retry` field of WHATWG HTML, 9.2.6); None leaves it to the browser.
    graceful_exit: SIGINT and SIGTERM end the streams of the main thread's event loop, so that the server can stop.
    max_buffer_bytes: bytes of text that may wait for a client, beside buffer_size; one event may always wait.
    history: events that are kept for clients that come back; each then carries an id, and a client that comes with one
        (Last-Event-ID) goes on behind that event, or is told that it cannot.
    history_bytes: bytes of text that they may have together, or None.
    gap_event: the event that tells a client so, with data {"reason": ..., "last_event_id": ...}; None for silence.
    max_age: seconds after which a stream ends, so that its client comes back; each draws up to a tenth less. Or None.
    direct: where the server offers it (fastware_sse.uvicorn), C writes the events to the sockets itself, past every
        middleware that would look at them.
    on_connect, on_disconnect: plain functions that get a Client, on its event loop. What they raise is logged.
    backplane: the stream on a server that all processes share, such as a fastware_sse.redis.RedisStream: what is
        broadcast in one reaches the clients of all, in one order, with ids that mean the same in each.
    backplane_buffer: events, and bytes of them, that may wait to be published; broadcast() then raises BackplaneFull.

    Raises TypeError or ValueError that names the argument.
    """

    # As long as __init__() has not run, which a subclass may forget.
    _gap_event: str | None = "gap"
    _max_age: float | None = None
    _direct: bool = True
    _on_connect: Hook | None = None
    _on_disconnect: Hook | None = None
    _backplane: Relay | None = None
    _stuck: int = 0  # clients that were dropped because they had stopped reading

    def __init__(
        self,
        buffer_size: int = 256,
        *,
        strict: bool = True,
        heartbeat_interval: float | None = None,
        retry: float | tuple[float, float] | None = None,
        graceful_exit: bool = True,
        max_buffer_bytes: int | None = None,
        history: int = 0,
        history_bytes: int | None = None,
        gap_event: str | None = "gap",
        max_age: float | None = None,
        direct: bool = True,
        on_connect: Hook | None = None,
        on_disconnect: Hook | None = None,
        backplane: Backplane | None = None,
        backplane_buffer: tuple[int, int] = (50_000, 32 * 1024 * 1024),
    ) -> None:
        self._gap_event = checked_gap_event(gap_event)
        self._max_age = checked_seconds("max_age", max_age, 1)
        self._direct = checked_flag("direct", direct)
        self._on_connect = checked_hook("on_connect", on_connect)
        self._on_disconnect = checked_hook("on_disconnect", on_disconnect)
        buffer = checked_buffer(backplane_buffer)
        if checked_backplane(backplane) is not None:
            self._refuse_own_generator()
        super().__init__(
            buffer_size,
            strict=strict,
            heartbeat_interval=heartbeat_interval,
            retry=retry,
            graceful_exit=checked_flag("graceful_exit", graceful_exit),
            max_buffer_bytes=max_buffer_bytes,
            history=history,
            history_bytes=history_bytes,
            position_digits=0 if backplane is None else backplane.digits,
        )
        if self._backplane is not None:
            self._backplane.close()
        self._backplane = None if backplane is None else Relay(self, backplane, buffer)

    async def stream(self, request: Any, initial: Initial = None) -> Any:
        """Return the response for an SSE endpoint: that of the framework which the request is from.

        The client is registered when its first chunk is asked for. `initial` are (event, data) pairs for this client
        alone, sent before any broadcast; their events need not be registered. Or it is a callable (sync or async) that
        returns them: it gets a Start once the client is registered. HEAD gets the headers and an end.

        An overridden _event_generator is for fastware alone. A request that is not known counts as fastware's.

        Raises what broadcast() raises for a bad pair in `initial`, and TypeError for a request that cannot be answered.
        """
        adapter = adapter_of(request)
        if adapter is not None:
            self._refuse_own_generator()
            return adapter.respond(self, request, initial)
        prepared = initial if callable(initial) else self._initial_chunks(initial)
        subscription = None
        generator: AsyncGenerator[str, None]
        scope = scope_of(request)
        if scope.get("method") == "HEAD":
            generator = empty_stream()
        elif self._has_own_generator():
            queue: asyncio.Queue[str] = asyncio.Queue(self._buffer_size)
            pairs = _pairs(initial)
            generator = self._event_generator(queue, pairs) if pairs else self._event_generator(queue)
        else:
            session = Session(self, scope)
            subscription = session.subscription
            generator = event_stream(session, subscription, prepared, list, list)
        response = stream_response(request, generator)
        response._subscription = subscription  # type: ignore[attr-defined]  # for sse_route
        return response

    async def _event_generator(
        self, queue: asyncio.Queue[str], initial: list[tuple[str, Any]] | None = None
    ) -> AsyncGenerator[str, None]:
        """Yield what broadcast() puts into `queue`, which is registered as a client from the first step to the end.

        For the event loop's own thread only.
        """
        generator = queue_stream(self, queue, self._retry_chunks() + self._initial_chunks(initial))
        try:
            async for chunk in generator:
                yield chunk
        finally:
            await generator.aclose()

    def close(self) -> None:
        """End every stream once it has sent what it owes, and later ones at once. Idempotent; from any thread.

        broadcast() still validates afterwards, and reaches nobody. With a backplane it waits until what was broadcast
        before is published, for 5 s at most, and logs how many events are lost.
        """
        super().close()
        self._clients.clear()
        for stream in list(self._waiting):
            with contextlib.suppress(RuntimeError):  # its loop is closed
                stream.loop.call_soon_threadsafe(stream.end)
        if self._backplane is not None:
            self._backplane.close()

    def stats(self) -> dict[str, Any]:
        """Return a cheap snapshot; from any thread. Counters start at 0 in each process.

        Clients: connected now, direct among them; total, resumed, gaps_evicted, gaps_epoch, gaps_future, gaps_invalid;
        pruned, pruned_by_events, pruned_by_bytes, pruned_by_history; stuck: dropped, since they had stopped reading.
        Events: events, bytes; log_events, log_bytes, lag; history_events, history_bytes.
        With a backplane also "backplane", a dict: away_since (a time.time()), trouble; queued_events, queued_bytes;
        refused, foreign; epoch, position. What each means: docs/operations.md of the project.
        """
        stats: dict[str, Any] = super().stats()
        stats["stuck"] = self._stuck
        if self._backplane is not None:
            stats["backplane"] = self._backplane.stats()
        return stats

    def _subscribe(self) -> _core.Subscription:
        if self._backplane is not None:
            self._backplane.begin()
        return super()._subscribe()

    def _end_streams(self, loop: asyncio.AbstractEventLoop, /) -> None:
        super()._end_streams(loop)
        for stream in list(self._waiting):
            if stream.loop is loop:
                stream.end()

    def _start_over(self) -> None:
        self._stuck = 0
        self._waiting.clear()
        super()._start_over()
        if self._backplane is not None:
            self._backplane = self._backplane.renewed(self)

    @property
    def _waiting(self) -> set[Waiting]:
        """Made when asked for: __init__ may not have run."""
        waiting: set[Waiting] = self.__dict__.setdefault("_waiting_", set())
        return waiting

    def _has_own_generator(self) -> bool:
        return getattr(self._event_generator, "__func__", None) is not Broadcaster._event_generator

    def _refuse_own_generator(self) -> None:
        """To be called by what serves streams without _event_generator()."""
        if self._has_own_generator():
            raise TypeError(f"{type(self).__name__} has its own _event_generator(), which only fastware's streams use")

    def _retry_chunks(self) -> list[_core.Chunk]:
        if self._retry is None:
            return []
        low, high = self._retry if isinstance(self._retry, tuple) else (self._retry, self._retry)
        return [_core.Chunk(_core.wire(retry=round(random.uniform(float(low), float(high)) * 1000)))]

    def _initial_chunks(self, initial: list[tuple[str, Any]] | None) -> list[_core.Chunk]:
        if initial is None:
            return []
        if not isinstance(initial, (list, tuple)):
            raise TypeError(f"initial must be a list of (event, data) pairs, not {type(initial).__name__}")
        chunks = []
        for index, pair in enumerate(initial):
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise TypeError(f"initial[{index}] must be a pair (event, data), not {type(pair).__name__}")
            event, data = pair
            _core.wire(event, "")  # an overridden _format_sse need not check the name
            chunks.append(_core.Chunk(self._format_sse(event, data)))
        return chunks


def _pairs(initial: Initial) -> Pairs | None:
    if callable(initial):
        raise TypeError("initial must be a list of (event, data) pairs where _event_generator() is overridden")
    return initial
