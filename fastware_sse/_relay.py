"""Between a Broadcaster and its stream on a server: what was broadcast goes there, and what comes from there goes out.

All clients of all processes get what was read back, in the order of the stream: those of the publisher too.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any

from . import _background
from ._core import Outbox
from ._outage import Backoff, Outage
from ._pages import Pages
from ._publisher import Publisher
from ._resume import gap_of
from .backplane import Backplane, Entry, Page, PositionLost, decoded

if TYPE_CHECKING:
    from .broadcaster import Broadcaster

_STEADY = 1.0  # seconds that reading must last until the server counts as back, if it brings nothing
_CLOSE_LIMIT = 1.0  # seconds
_LOST_LIMIT = 5.0  # seconds that who publishes waits for a stream that was lost, until it looks for itself

_log = logging.getLogger("fastware_sse")


class Relay:
    """To be made anew in the child of a fork. Begins with the first event or stream, on the background thread."""

    def __init__(self, broadcaster: Broadcaster, backplane: Backplane, buffer: tuple[int, int]) -> None:
        self.backplane = backplane
        self._broadcaster = weakref.ref(broadcaster, self._forsaken)
        self._buffer = buffer
        self._outbox = Outbox(*buffer, self._wake, self.begin)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False  # takes no more
        self._is_over = False
        self._epoch: str | None = None  # None before the first contact
        self._position = ""  # of the last entry read
        self._known = asyncio.Event()  # there was a first contact
        self._contact = asyncio.Event()  # its stream was found, and is there as far as we know
        self._outage = Outage(backplane)
        self._pages = Pages(backplane, "", self._outage)
        self._publisher = Publisher(backplane, self._outbox, self._outage, self._contact, self._find_again)
        self._reading: asyncio.Timeout | None = None
        self._refused = 0
        broadcaster._attach_outbox(self._outbox)

    # From any thread.

    def begin(self) -> None:
        """Be in contact from now on. Idempotent. Raises RuntimeError where that cannot be."""
        if self._loop is None and not self._is_closed:
            self._loop = _background.enter(self)
            if self._is_closed:  # meanwhile, by who did not see it enter
                _background.end(self, wait=False)

    def renewed(self, broadcaster: Broadcaster) -> Relay:
        """Another one, for the child of a fork: what waits in this one is the parent's to publish."""
        relay = Relay(broadcaster, self.backplane, self._buffer)
        relay._is_closed = self._is_closed
        return relay

    def close(self) -> None:
        """Publish what is left, for a few seconds at most, and leave the server. Idempotent; logs what is lost."""
        self._is_closed = True
        _background.end(self, wait=True)

    async def page(self, epoch: str, position: str) -> Page:
        """As Pages.page(), on any loop. Raises PositionLost."""
        self.begin()
        page = _background.submit(self, self._page, epoch, position)
        if page is None:
            raise PositionLost("the stream was left")
        return await asyncio.wrap_future(page)

    async def contact(self) -> None:
        """Wait for the first contact, on any loop."""
        self.begin()
        known = _background.submit(self, self._known.wait)
        if known is not None:
            await asyncio.wrap_future(known)

    def stats(self) -> dict[str, Any]:
        """As documented at Broadcaster.stats()."""
        return {
            "away_since": self._outage.since,
            "trouble": self._outage.text,
            "queued_events": len(self._outbox),
            "queued_bytes": self._outbox.bytes,
            "refused": self._refused + self._publisher.refused,
            "foreign": self.backplane.foreign,
            "epoch": self._epoch,
            "position": self._position or None,
        }

    def _wake(self) -> None:
        """There is something in the outbox, which was empty."""
        if self._loop is not None:
            with suppress(RuntimeError):  # closed meanwhile, and what is lost was said
                self._loop.call_soon_threadsafe(self._publisher.wake, context=Context())

    def _forsaken(self, _: object) -> None:
        """The Broadcaster was collected, anywhere."""
        self._is_closed = True
        _background.end(self, wait=False)

    # On the background thread's loop.

    async def run(self) -> None:
        # Ends with the last of them, and passes on each cancellation to both.
        for result in await asyncio.gather(self._read(), self._publisher.run(), return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def finish(self) -> None:
        try:
            async with asyncio.timeout(_background.FLUSH_LIMIT):
                await self._publisher.flush()
        except TimeoutError:
            pass
        self.give_up()

    def give_up(self) -> None:
        if lost := self._outbox.close():
            _log.error("%s: %d events that were broadcast could not be published, and are lost", self.backplane, lost)

    async def leave(self) -> None:
        self._is_over = True
        self._contact.set()  # for those who wait for a page
        self._pages.close()
        others = [user for user in _background.users() if isinstance(user, Relay) and user is not self]
        if not any(other.backplane is self.backplane for other in others):
            try:
                async with asyncio.timeout(_CLOSE_LIMIT):
                    await self.backplane.close()
            except Exception:
                _log.debug("%s could not be left", self.backplane, exc_info=True)

    async def _read(self) -> None:
        backoff = Backoff()
        while True:
            steady: asyncio.TimerHandle | None = None
            try:
                async with asyncio.timeout(None) as reading:
                    self._reading = reading
                    await self._make_contact()
                    steady = asyncio.get_running_loop().call_later(_STEADY, self._reads, backoff)
                    async for entries in self.backplane.tail(self._epoch or "", self._position):
                        self._hand_out(entries)
                        self._reads(backoff)
            except Exception as error:
                if not isinstance(error, PositionLost) and not reading.expired():
                    self._outage.begin("reading", error)
            finally:
                self._reading = None
                if steady is not None:
                    steady.cancel()
            await backoff.wait()

    def _reads(self, backoff: Backoff) -> None:
        self._outage.end("reading")
        backoff.reset()

    async def _make_contact(self) -> None:
        """Find the stream, and out whether all that came since is still there; if not, begin anew at its end."""
        backplane, known = self.backplane, self._epoch
        await backplane.open()
        epoch, last = await backplane.epoch(), await backplane.last()
        reason = None
        if known is not None:
            if epoch != known:
                reason = "epoch"
            elif decoded(last) < decoded(self._position):
                reason, epoch = "future", await backplane.renewed(epoch)
            elif not await backplane.covers(epoch, self._position):
                reason = "evicted"
        if known is None or reason is not None:
            self._rebase(epoch, last, reason)
        self._contact.set()

    def _rebase(self, epoch: str, position: str, reason: str | None) -> None:
        if reason is not None:
            _log.warning("%s: %s; clients are told of a gap", self.backplane, _REASONS[reason])
        self._epoch, self._position = epoch, position
        self._pages.close()
        self._outage.end("paging")
        self._pages = Pages(self.backplane, epoch, self._outage)
        broadcaster = self._broadcaster()
        if broadcaster is not None:
            broadcaster._rebase(epoch, position, None if reason is None else gap_of(broadcaster, reason))
        self._known.set()

    def _hand_out(self, entries: list[Entry]) -> None:
        broadcaster = self._broadcaster()
        if entries and broadcaster is not None:
            self._refused += broadcaster._deliver(entries)
            self._position = entries[-1].position

    def _find_again(self) -> None:
        """There is no stream: it was deleted, and those who read it need not notice."""
        if self._reading is not None and self._reading.expired():
            return  # a client library has swallowed it
        loop = asyncio.get_running_loop()
        self._contact.clear()
        loop.call_later(_LOST_LIMIT, self._contact.set, context=Context())
        if self._reading is not None:
            self._reading.reschedule(loop.time())

    async def _page(self, epoch: str, position: str) -> Page:
        if not self._is_over:
            await self._contact.wait()
        if self._is_over or epoch != self._epoch:
            raise PositionLost("the stream is another by now, or was left")
        return await self._pages.page(position)


_REASONS = {
    "epoch": "the stream was deleted, made anew, or has lost its end",
    "future": "the server has lost the last entries",
    "evicted": "entries were trimmed away before they were read",
}
