"""The way of a client that came back, from its last event to the local log, where that does not reach back so far.

It stands aside there, and gets pages that are read from the backplane, one at a time: so it takes the memory of a page,
however far back it begins. Only at the end of the stream it takes its place at the head of the log, and what still lies
in front of that are its last pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

from ._core import Chunk, Subscription
from .backplane import Page, PositionLost, decoded

if TYPE_CHECKING:
    from ._stream import Waiting
    from .broadcaster import Broadcaster

HEARTBEAT = Chunk(": heartbeat\n\n")
OPENING = Chunk(":\n\n")  # where there is nothing else: some servers hold the headers back until there is a body

_SOON = 1.0  # seconds after which a client that has got nothing yet gets that, heartbeats or not
_ID = re.compile("^id: (.*)-(.*)$", re.MULTILINE)


class Paging:
    """Of one stream, on its loop; from the join that put its subscription aside until it has its place."""

    def __init__(
        self, broadcaster: Broadcaster, subscription: Subscription, last_id: bytes, loop: asyncio.AbstractEventLoop
    ) -> None:
        assert broadcaster._backplane is not None
        self.loop = loop
        self.is_covered = False  # nothing is missing: the backplane has what comes behind the client's id
        self._relay = broadcaster._backplane
        self._subscription = subscription
        self._last_id = last_id
        self._epoch, self._at = "", ""  # up to here the client has everything
        self._page: Page | None = None  # what comes behind that
        self._head: str | None = None  # the position in front of its place in the log, once it has one
        self._vain = 0  # pages asked for since then that brought nothing
        self._question: asyncio.Task[None] | None = None
        self._bell: asyncio.Future[None] | None = None  # rings when the stream may be over
        self._waiting: set[Waiting] = broadcaster._waiting
        self._interval = None if broadcaster._heartbeat_interval is None else float(broadcaster._heartbeat_interval)
        self._is_silent = True  # nothing was sent yet

    @property
    def id(self) -> str | None:
        """That in front of the first page."""
        return self._last_id.decode() if self.is_covered else None

    async def beat(self) -> Chunk | None:
        """A chunk that shows that somebody is here, or None once there is an answer, or the stream is to end."""
        if self._subscription.is_ending:
            return None
        if self._question is None:
            self._question = self.loop.create_task(self._ask())
            self._waiting.add(self)
        self._bell = self.loop.create_future()
        timeout, beat = (_SOON, OPENING) if self._is_silent else (self._interval, HEARTBEAT)
        self._is_silent = False
        await asyncio.wait({self._question, self._bell}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not self._question.done() and not self._subscription.is_ending:
            return beat
        question = self._question
        self.leave()
        if question.done():
            question.result()
        return None

    async def chunks(self) -> list[Chunk]:
        """What comes next for the client; nothing once it has come to its place, or its stream is over."""
        while self.is_covered:
            if self._page is not None:
                if chunks := self._take(self._page):
                    return chunks
            elif self._has_arrived():
                return await self._pass_over()
            elif self._subscription.is_ending:
                self._subscription.close()  # it must not go on behind what it has not got
                return []
            elif (beat := await self.beat()) is not None:
                return [beat]
        return []

    def end(self) -> None:
        """Its subscription may be over; on its loop."""
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def leave(self) -> None:
        """Ask no more. Idempotent; from any thread, since the collector may have found the stream."""
        self._waiting.discard(self)
        question, self._question = self._question, None
        if question is None or question.done():
            return
        if asyncio._get_running_loop() is self.loop:
            question.cancel()
        else:
            with contextlib.suppress(RuntimeError):  # it is closed
                self.loop.call_soon_threadsafe(question.cancel)

    async def _ask(self) -> None:
        """The question that comes next, whose answers it notes."""
        subscription = self._subscription
        if subscription.start == "unknown":
            await self._relay.contact()
            subscription.judge(self._last_id)
        if subscription.start == "behind" and not self.is_covered:
            self._epoch, _, self._at = self._last_id.decode().partition("-")
        if not self._at:
            return
        try:
            self._page = await self._relay.page(self._epoch, self._at)
            self.is_covered = True
        except PositionLost:
            if self.is_covered:
                subscription.strand()  # it comes back, and is told a gap
            else:
                subscription.judge(self._last_id, False)

    def _take(self, page: Page) -> list[Chunk]:
        self._page = None
        is_fresh = self._head is not None
        if page.is_last and not is_fresh:
            self._head = self._subscription.arrive()
            if self._head is None:
                return []
        if self._head is not None and decoded(self._at) >= decoded(self._head):
            return []
        if page.entries:
            last = page.entries[-1].position
            self._at = last if self._head is None else min(last, self._head, key=decoded)
        elif is_fresh:
            self._vain += 1
        return self._subscription.replay(self._epoch, page.entries, self._head)

    def _has_arrived(self) -> bool:
        if self._head is None:
            return False
        # The head need not be an entry of ours. One page may come from a read that was under way, but not the next.
        return decoded(self._at) >= decoded(self._head) or self._vain == 2

    async def _pass_over(self) -> list[Chunk]:
        """Read what the client has already: another process, or the pages, were ahead of this one. Returns a heartbeat,
        or the first event that it has not, or nothing."""
        subscription = self._subscription
        assert self._head is not None
        coalesce, subscription.coalesce = subscription.coalesce, False
        try:
            while decoded(self._head) < decoded(self._at):
                chunk = next(subscription, None)
                if chunk is None:
                    waiter = subscription.park()
                    if waiter is None:
                        return []
                    await waiter
                    continue
                found = _ID.search(chunk)
                if found is None:
                    return [chunk]
                epoch, position = found.groups()
                if epoch != self._epoch or not decoded(self._head) < decoded(position) <= decoded(self._at):
                    self._at = self._head
                    return [chunk]
                self._head = position
        finally:
            subscription.coalesce = coalesce
        return []
