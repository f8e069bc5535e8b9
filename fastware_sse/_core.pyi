"""The C part: formatting, the log, the clients as cursors in it, and the wake-ups of their event loops."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any, final

@final
class Chunk(str):
    """A str whose encode() returns ready UTF-8 bytes, made once and shared by all clients."""

    def __new__(cls, text: str, /) -> Chunk:
        """Raises UnicodeEncodeError for a lone surrogate."""

class Broadcaster:
    """One log of events and the clients that read it: everything but the streams."""

    def __init__(
        self,
        buffer_size: int = 256,
        *,
        strict: bool = True,
        heartbeat_interval: float | None = None,
        retry: float | tuple[float, float] | None = None,
        graceful_exit: bool = True,
    ) -> None:
        """buffer_size in events (0 or less: unbounded); heartbeat_interval and retry in seconds.

        Raises TypeError or ValueError, naming the argument, and RuntimeError if clients are connected already.
        """
    @property
    def event_types(self) -> frozenset[str]:
        """The registered event types."""
    @property
    def client_count(self) -> int:
        """The number of clients whose stream has begun and has neither ended nor been pruned."""
    def register_event(self, name: str) -> None:
        """Declare an allowed event type. Raises TypeError, ValueError (CR, LF or NUL)."""
    def broadcast(self, event: str, data: Any) -> None:
        """Send an event to all connected clients; from any thread. Raises ValueError, TypeError, MemoryError."""
    def close(self) -> None:
        """End every stream once it has sent what it owes; from any thread."""
    def _format_sse(self, event: str, data: Any) -> str:
        """Return the event as text/event-stream text."""
    def _subscribe(self) -> Subscription:
        """Return a new Subscription, which becomes a client when it joins."""
    def _end_streams(self, loop: asyncio.AbstractEventLoop, /) -> None:
        """End the streams on one event loop; from that loop."""
    def stats(self) -> dict[str, int]:
        """Return a cheap snapshot; from any thread.

        connected: clients now, as client_count. total: streams that ever began. pruned: clients that could not keep up.
        events, bytes: published, and their text. log_events, log_bytes: kept for clients that have not read them yet.
        lag: events that the client furthest behind still has to read. Counters start at 0 in each process.
        """
    def _start_over(self) -> None:
        """In the child of a fork: drop all clients, events and counts. Raises MemoryError."""
    @property
    def _clients(self) -> list[asyncio.Queue[str]]: ...
    @property
    def _event_types(self) -> set[str]: ...
    @property
    def _buffer_size(self) -> int: ...
    @property
    def _strict(self) -> bool: ...
    @property
    def _heartbeat_interval(self) -> float | None: ...
    @property
    def _retry(self) -> float | tuple[float, float] | None: ...
    @property
    def _graceful_exit(self) -> bool: ...
    @property
    def _closed(self) -> bool: ...

@final
class Subscription(Iterator[Chunk]):
    """One client. Iteration gives what can be read now and then stops; park() tells when to iterate again."""

    coalesce: bool
    """Whether events that wait together are read as one chunk of at most 64 KiB; else one event a chunk."""

    def __next__(self) -> Chunk: ...
    def join(self, loop: asyncio.AbstractEventLoop, /) -> None:
        """Register on the running event loop `loop`. Raises RuntimeError on a second call."""
    def park(self) -> Awaitable[None] | None:
        """Return what to await until there is something to read, or None at the end of the stream."""
    def finish(self) -> None:
        """End the stream: what is owed until now can still be read."""
    def close(self) -> None:
        """Unregister the client. Idempotent; from any thread."""

def wire(
    event: str | None = None,
    data: Any = None,
    *,
    id: str | None = None,
    retry: int | None = None,
    comment: str | None = None,
) -> str:
    """Return the text/event-stream form of the fields that are not None; retry in milliseconds."""

def _alloc_live() -> int:
    """Return the bytes that the C core has allocated in this process."""

def _broadcasters() -> list[Broadcaster]:
    """Return all Broadcasters that are alive."""

def _alloc_fail_after(successes: int, /) -> None:
    """Debug builds: let one allocation of the core fail after so many; negative: none."""
