"""The C part: formatting, the log, the clients as cursors in it, and the wake-ups of their event loops."""

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Iterator, Sequence
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
        position_digits: int = 0,
    ) -> None:
        """buffer_size and history in events (0 or less, and 0: none); heartbeat_interval and retry in seconds.

        position_digits: 13 or 26 where epoch and positions come from a backplane; broadcast() puts its events into an
        outbox then, and _deliver() publishes what comes back.

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
        """Send an event to all connected clients; from any thread. Raises ValueError, TypeError, MemoryError.

        With a backplane also BackplaneFull where backplane_buffer has no room, and RuntimeError once the backplane is
        closed or the interpreter ends, or where no thread can start. Then nothing was sent to anybody.
        """
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

        connected: clients now, as client_count; direct: those to whose sockets C writes itself; total:
        streams that ever began, those among them that resumed, and those that could not (gaps_), by reason; pruned:
        clients that could not keep up, by what had no more room. Queues in _clients count as connected, and nowhere
        else.
        events, bytes: published, and their text; with a backplane, what came back from it. log_events, log_bytes: kept,
        for clients that have not read them yet or as history; lag: events that the live client furthest behind still
        has to read, without those that catch up in the history, or have been pruned; history_events, history_bytes:
        kept for those who come back. Counters start at 0 in each process.
        """
    def _attach_outbox(self, outbox: Outbox, /) -> None:
        """Let broadcast() put its events there from now on. Raises TypeError if _format_sse() is overridden."""
    def _deliver(self, entries: Sequence[tuple[str, str, builtins.bytes]], /) -> int:
        """Publish a list of (position, event, data) with one wake-up for all.

        Return how many were refused because they may not stand on the wire.
        Those whose positions are not above that of the last are passed over: a batch may be tried again. From a thread
        that has no clients: it may wait, at most 20 ms an event, for those of a loop that had no turn.
        """
    def _rebase(self, epoch: str, position: str, gap: tuple[str, str] | None = None, /) -> None:
        """From here on positions are those of `epoch`, behind `position`, and what was history is none any more.

        All clients get the event `gap`, a pair (event, data), with that id, or nothing but the id. The first call is
        the first contact.
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
    @property
    def _has_ids(self) -> bool: ...

class BackplaneFull(RuntimeError):
    """broadcast() finds no room for the event: the server has been away for so long. The event is not sent."""

class Outbox:
    """What broadcast() was given and a backplane has not taken yet. An empty one takes an event of any size."""

    def __init__(self, events: int, bytes: int, wake: Callable[[], object], begin: Callable[[], object] = ...) -> None:
        """wake() is called when there is something again; begin() before the first is put in. If that raises, it is not
        put in, and begin() is called again before the next."""
    @property
    def bytes(self) -> int:
        """Bytes of event names and data that wait."""
    def __len__(self) -> int: ...
    def take(self, events: int, bytes: int, /) -> list[tuple[int, str, builtins.bytes]]:
        """Return the oldest as (counter, event, data), without removing them: at most so many events and so many bytes,
        but at least one if there is one."""
    def done(self, counter: int, /) -> None:
        """Remove what was published: everything up to and including that counter."""
    def close(self) -> int:
        """Drop what is left, and return how many events that were. Nothing can be put in any more."""

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
        """How it has joined: live, resumed, evicted, epoch, future, invalid, behind, unknown or closed; None before."""
    @property
    def fate(self) -> str | None:
        """Why it has ended: pruned, history, finished or closed; None if the client left."""
    @property
    def is_ending(self) -> bool:
        """Whether it is not registered, or will not be for long."""
    @property
    def id(self) -> str | None:
        """The id of the event in front of the next.

        None without ids, where it joined a closed one, and where that id is not known, or not here any more.
        """
    @property
    def events(self) -> int:
        """Events read."""
    @property
    def bytes(self) -> int:
        """Bytes of their text."""
    def join(self, loop: asyncio.AbstractEventLoop, last_event_id: builtins.bytes | None = None, /) -> None:
        """Register on the running event loop `loop`; if events have ids, behind the event `last_event_id`.

        Where that is not here ("behind"), or nothing is known yet ("unknown"), it stands aside, with nothing to read,
        until judge() or arrive().

        Raises RuntimeError on a second call.
        """
    def judge(self, last_event_id: builtins.bytes, is_covered: bool = True, /) -> None:
        """Judge the id of a client that has joined as "behind" or "unknown" again, and change `start`. With
        is_covered=False what would be "behind" is a gap."""
    def arrive(self) -> str | None:
        """Let a client that has joined as "behind" go on at the head of the log.

        Return the head's position, up to which the client gets its events from elsewhere; or None where its stream is
        over.
        """
    def strand(self) -> None:
        """End the stream at once, as if the history had passed the client."""
    def replay(
        self, epoch: str, entries: Sequence[tuple[str, str, builtins.bytes]], upto: str | None = None, /
    ) -> list[Chunk]:
        """Return a list's entries (position, event, data) as chunks with ids of `epoch`, but those behind the position
        `upto` and those that may not stand on the wire. They count as read."""
    def settle(self) -> None:
        """To be called before the first read: where the history has passed a client that came back to a gap, it begins
        at the oldest event of now."""
    def park(self) -> Awaitable[None] | None:
        """Return what to await until there is something to read, or None at the end of the stream, or aside."""
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
class Wrapper:
    """What a connection's server calls for each request, instead of the application."""

    def __new__(cls, app: Callable[..., Any], protocol: object, /) -> Wrapper: ...
    def __call__(self, scope: dict[str, Any], receive: object, send: Callable[..., Any], /) -> Any:
        """Call the application with a Sender for `send`, and its Handoff in scope["extensions"]["fastware.sse"]."""
    @property
    def current(self) -> Handoff | None:
        """That of the last request."""
    is_ending: bool
    """Whether the server stops; for the requests that follow."""
    def release(self) -> None:
        """The connection is lost."""

@final
class Handoff:
    """What a stream finds in the scope of its request."""

    streams: tuple[Any, ...]
    """Those of the request that have begun and not ended; they are told when the server stops."""
    had_stream: bool
    """Whether one has begun, be it over or not."""
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
