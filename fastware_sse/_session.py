"""One client from its registration to its end, whoever sends: how its stream begins, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from . import _exit, _limits, _workers
from ._age import Age, ages_of
from ._client import GAPS, Client
from ._core import Chunk, Handoff, Subscription, wire
from ._direct import Offer, handoff_of, make_offer
from ._paging import Paging
from ._resume import Start, gap_of, last_event_id

if TYPE_CHECKING:
    from .broadcaster import Broadcaster

Pairs = list[tuple[str, Any]]
MakeInitial = Callable[[Start], Pairs | Awaitable[Pairs]]
Initial = Pairs | MakeInitial | None
Part = TypeVar("Part", Chunk, bytes)

SEND_TIMEOUT = 30.0  # seconds after which a client that has stopped reading is dropped, where nobody chooses them

_log = logging.getLogger("fastware_sse")


def is_cancelled() -> bool:
    """Whether it is this task that was cancelled, and not something that its code awaits."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class Session:
    """To be made when the response is, begun when its first part is asked for, and ended with it."""

    __slots__ = (
        "_age",
        "_broadcaster",
        "_client",
        "_handoff",
        "_is_stuck",
        "_last_id",
        "_loop",
        "_paging",
        "_place",
        "_scope",
        "_why",
        "is_forgotten",
        "offer",
        "reason",
        "subscription",
    )

    def __init__(self, broadcaster: Broadcaster, scope: Mapping[str, Any]) -> None:
        self.subscription: Subscription = broadcaster._subscribe()
        self.reason: str | None = None
        self._broadcaster = broadcaster
        self._scope: Mapping[str, Any] | None = scope
        self._last_id = last_event_id(scope) if broadcaster._has_ids else None
        self._place = _exit.enter(broadcaster, asyncio._get_running_loop())
        self._age: Age | None = None
        self._client: Client | None = None
        self._paging: Paging | None = None  # where its place is not in the log, or not known yet
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handoff: Handoff | None = None
        self.offer: Offer | None = None  # of a direct way to the client's socket
        self._is_stuck = False
        self.is_forgotten = False  # by its server, and found by the collector, which may run inside of broadcast()
        self._why: str | None = None  # the first reason for which it was told to finish; None: a signal

    def begin(self, loop: asyncio.AbstractEventLoop, patience: float | None = SEND_TIMEOUT) -> None:
        """Register the client.

        patience: seconds after which a direct client is dropped whose socket takes nothing, or None.
        """
        broadcaster = self._broadcaster
        self._loop = loop
        self.subscription.join(loop, self._last_id)
        if self._last_id is not None and self.subscription.start in ("unknown", "behind"):
            self._paging = Paging(broadcaster, self.subscription, self._last_id, loop)
        _limits.begin()
        if broadcaster._backplane is None:
            _workers.begin()
        if self._place is not None and self._place.is_late:
            self.subscription.finish()
        self._meet_server(patience)
        if broadcaster._max_age is not None:
            self._age = ages_of(loop).enter(self, broadcaster._max_age)
        if broadcaster._on_connect is not None or broadcaster._on_disconnect is not None:
            self._client = Client(self)
            self._tell(broadcaster._on_connect, "on_connect")

    def _meet_server(self, patience: float | None) -> None:
        assert self._scope is not None
        handoff = handoff_of(self._scope)
        if handoff is None:
            return
        handoff.had_stream = True
        if handoff.sender is None or handoff.sender.protocol.loop is not self._loop:
            return  # over, or on another thread's loop, which is not the server's to stop
        self._handoff = handoff
        handoff.streams += (self,)
        if handoff.is_ending:
            self.subscription.finish()
        elif self._broadcaster._direct and self.subscription.start != "closed":
            self.offer = make_offer(handoff, self, self._scope, patience)

    def expect(self, part: Chunk | bytes) -> None:
        """The stream is about to give this away."""
        if self.offer is not None:
            self.offer.expect(part)

    async def opening(self) -> list[Chunk]:
        """What is sent while it is not known how the stream begins; nothing once it is. From begin() on, until then."""
        beat = None if self._paging is None else await self._paging.beat()
        return [] if beat is None else [beat]

    async def first(self, initial: list[Part] | MakeInitial, join: Callable[[list[Chunk]], list[Part]]) -> list[Part]:
        """What the stream begins with; from begin() on, so that no event falls between it and the stream.

        In this order, so that a cut anywhere loses nothing: `retry`, a gap, the initial events, and only then the id
        from which the client comes back next time.

        initial: what join() has made of the initial events, or what makes them.
        """
        start = self._start()
        head = self._broadcaster._retry_chunks() + self._gap_chunks(start)
        if callable(initial):
            made = initial(start)
            if inspect.isawaitable(made):
                made = await made
            initial = join(self._broadcaster._initial_chunks(made))
        self._scope = self._last_id = None  # may be large, and the stream may live for days
        self.subscription.settle()
        here = self.subscription.id if self._paging is None else self._paging.id or self.subscription.id
        if here is None:
            return join(head) + initial
        # With what can be read now: each step from here on may wait, and the history pass who comes back to its end.
        return join(head) + initial + join([Chunk(wire(id=here)), *itertools.islice(self.subscription, 1)])

    async def replay(self) -> list[Chunk]:
        """What comes next of what is not in the log; nothing once the client is there. From first() on, until then."""
        chunks = [] if self._paging is None else await self._paging.chunks()
        if not chunks:
            self._paging = None
        return chunks

    def stop(self, why: str = "shutdown") -> None:
        """Let the stream end for the reason `why`; on its loop, outside of any task.

        With a history it ends where it is, and the client goes on from there.
        """
        if self.reason is not None:
            return
        self._why = self._why or why
        if self.offer is not None:
            self.offer.take_back()
        self.subscription.end()
        if self._paging is not None:
            self._paging.end()

    def expire(self) -> None:
        """The stream has reached its age."""
        self.stop("max_age")

    def note_stuck(self) -> None:
        """The client has stopped reading, and is dropped for it. Idempotent."""
        if not self._is_stuck:
            self._is_stuck = True
            self._broadcaster._stuck += 1
            _log.debug("dropped an SSE client that has stopped reading")

    def end(self) -> None:
        """Unregister the client. Idempotent."""
        if self.reason is not None:
            return
        offer, self.offer = self.offer, None  # they know each other
        if offer is not None:
            offer.take_back()
        if self._handoff is not None:
            self._handoff.streams = tuple(other for other in self._handoff.streams if other is not self)
        if self._paging is not None:
            self._paging.leave()
        self.subscription.close()
        fate = self.subscription.fate
        if fate is None:
            self.reason = "send_timeout" if self._is_stuck else "left"
        else:
            self.reason = (self._why or "shutdown") if fate == "finished" else fate
        if self._age is not None:
            self._age.leave()
        if self._place is not None:
            self._place.leave()
        if self._client is not None:
            self._tell(self._broadcaster._on_disconnect, "on_disconnect")

    @property
    def how(self) -> str | None:
        """How the client begins, as Subscription.start says."""
        is_covered = self._paging is not None and self._paging.is_covered
        return "resumed" if is_covered else self.subscription.start

    @property
    def is_late(self) -> bool:
        """Whether the server waits for this stream in order to stop."""
        return self._place is not None and self._place.is_late

    def _start(self) -> Start:
        scope = self._scope or {}
        requested = last_event_id(scope) if self._last_id is None else self._last_id
        how = self.how
        return Start(
            scope,
            requested=None if requested is None else requested.decode("latin-1"),
            complete=how == "resumed",
            reason=how if how in GAPS else None,
        )

    def _gap_chunks(self, start: Start) -> list[Chunk]:
        if start.reason is None:
            return []
        gap = gap_of(self._broadcaster, start.reason, None if start.reason == "invalid" else start.requested)
        return [] if gap is None else [Chunk(wire(*gap))]

    def _tell(self, hook: Callable[[Client], object] | None, name: str) -> None:
        """On the client's loop, whoever drops the last reference to a stream; nowhere if that is closed."""
        assert self._loop is not None and self._client is not None
        if hook is None:
            return
        if asyncio._get_running_loop() is self._loop and not self.is_forgotten:
            self._call(hook, name, self._client)
        else:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._call, hook, name, self._client)

    @staticmethod
    def _call(hook: Callable[[Client], object], name: str, client: Client) -> None:
        try:
            hook(client)
        except (Exception, asyncio.CancelledError):
            _log.exception("%s() of a Broadcaster failed", name)
