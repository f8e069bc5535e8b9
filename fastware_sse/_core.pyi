"""The C part: formatting, the log, the clients as cursors in it, and the wake-ups of their event loops."""

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol, final

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
        max_buffer_bytes: int | None = None,
        history: int = 0,
        history_bytes: int | None = None,
    ) -> None:
        """buffer_size and history in events (0 or less, and 0: none); heartbeat_interval and retry in seconds.

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

        connected: clients now, as client_count; direct: those among them to whose sockets C writes itself; total:
        streams that ever began, those among them that resumed, and those that could not (gaps_), by reason; pruned:
        clients that could not keep up, by what had no more room; events, bytes: published, and their text; log_events,
        log_bytes: kept, for clients that have not read them yet or as history; lag: events that the client furthest
        behind still has to read; history_events, history_bytes: kept for those who
        come back. Counters start at 0 in each process.
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
    def _max_buffer_bytes(self) -> int | None: ...
    @property
    def _history(self) -> int: ...
    @property
    def _history_bytes(self) -> int | None: ...
    @property
    def _closed(self) -> bool: ...

class _Offer(Protocol):
    def released(self, why: str, rest: builtins.bytes, /) -> None: ...

@final
class Subscription(Iterator[Chunk]):
    """One client. Iteration gives what can be read now and then stops; park() tells when to iterate again."""

    coalesce: bool
    """Whether events that wait together are read as one chunk of at most 64 KiB; else one event a chunk."""

    def __next__(self) -> Chunk: ...
    @property
    def start(self) -> str | None:
        """How it has joined: live, resumed, evicted, epoch, future, invalid or closed; None before."""
    @property
    def fate(self) -> str | None:
        """Why it has ended: pruned, history, finished or closed; None if the client left."""
    @property
    def id(self) -> str | None:
        """The id of the event in front of the next; None without a history, and where it joined a closed one."""
    @property
    def events(self) -> int:
        """Events read."""
    @property
    def bytes(self) -> int:
        """Bytes of their text."""
    def join(self, loop: asyncio.AbstractEventLoop, last_event_id: builtins.bytes | None = None, /) -> None:
        """Register on the running event loop `loop`; with a history, behind the event `last_event_id`.

        Raises RuntimeError on a second call.
        """
    def settle(self) -> None:
        """To be called before the first read: where the history has passed a client that came back to a gap, it begins
        at the oldest event of now."""
    def park(self) -> Awaitable[None] | None:
        """Return what to await until there is something to read, or None at the end of the stream."""
    def rest(self) -> Awaitable[None] | None:
        """Return what to await so that others have a turn, or None where it has not joined."""
    def attach(self, fd: int, chunked: bool, patience: float | None, offer: _Offer, /) -> bool:
        """Let C write to the socket `fd` what can be read from now on, in HTTP/1.1 chunks if `chunked`, until detach()
        or offer.released(why, rest).

        why: ended (the stream is), broken, or stuck (the socket took nothing for `patience` seconds; None: for ever).
        rest: bytes to be written before anything else.
        Returns False where the client is not parked. Raises OSError, MemoryError, or what the loop's add_reader()
        raises; then nothing has changed.
        """
    def detach(self) -> builtins.bytes:
        """End what attach() began, if it has not ended. Returns bytes to be written before anything else."""
    def finish(self) -> None:
        """End the stream: what is owed until now can still be read."""
    def end(self) -> None:
        """finish(), and let the stream end now if it waits. From a callback of its loop."""
    def close(self) -> None:
        """Unregister the client. Idempotent; from any thread."""

@final
class Entry:
    """What a connection's server calls for each request, instead of the application."""

    def __new__(cls, app: Callable[..., Any], protocol: object, /) -> Entry: ...
    def __call__(self, scope: dict[str, Any], receive: object, send: Callable[..., Any], /) -> Any:
        """Call the application with a Sender for `send`, and its Handoff in scope["extensions"]["fastware.sse"]."""
    @property
    def current(self) -> Handoff | None:
        """That of the last request."""
    def release(self) -> None:
        """The connection is lost."""

@final
class Handoff:
    """What a stream finds in the scope of its request."""

    stream: Any
    """Of the request, once it has begun; it is told when the server stops."""
    is_ending: bool
    """Whether that has been so before the stream began."""

    @property
    def sender(self) -> Sender | None:
        """None once the request is over."""

@final
class Sender:
    """The server's send(), until a stream makes an offer: from then on every message goes to offer.send()."""

    offer: Any
    start: Any
    """The first message, until somebody has looked at it."""

    def __call__(self, message: Any, /) -> Any: ...
    @property
    def send(self) -> Callable[..., Any]:
        """The server's own."""
    @property
    def protocol(self) -> Any:
        """Of the connection, or None where that is lost."""

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
