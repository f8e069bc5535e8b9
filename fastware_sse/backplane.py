"""What a Broadcaster of several processes is built on: one stream of entries on a server, the same for all of them.

An engine (fastware_sse.redis.RedisStream, fastware_sse.nats.JetStream) is a Backplane. What uses it is _relay.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from ._core import BackplaneFull

__all__ = [
    "EPOCH_DIGITS",
    "PAGE_BYTES",
    "Backplane",
    "BackplaneError",
    "BackplaneFull",
    "BackplaneRefused",
    "Entry",
    "EntryTooLarge",
    "Item",
    "Page",
    "PositionLost",
    "decoded",
    "encoded",
    "new_epoch",
]

EPOCH_DIGITS = 13  # 64 bits
PAGE_BYTES = 256 * 1024  # aimed at

_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"  # as in csrc/core/id.c: their order is not that of str
_VALUES = str.maketrans(_DIGITS, "0123456789abcdefghijklmnopqrstuv")


class BackplaneError(Exception):
    """The server is away, or does not answer in time. Tried again until it does."""


class BackplaneRefused(BackplaneError):
    """It is there, and refuses: something that an operator must mend. Its text says what. Tried again too."""


class PositionLost(BackplaneError):
    """The stream is not the one of that epoch, or what was behind the position is not all there any more."""


class EntryTooLarge(BackplaneError):
    """The server will never take this item; nothing of its batch was added."""

    def __init__(self, text: str, counter: int) -> None:
        super().__init__(text)
        self.counter = counter


class Entry(NamedTuple):
    """What is read from the stream."""

    position: str
    event: str
    data: bytes
    """The UTF-8 text of the data, before it is split into lines."""


class Page(NamedTuple):
    """Entries that follow one another."""

    entries: list[Entry]
    is_last: bool
    """Whether the stream ended there when it was read."""


class Item(NamedTuple):
    """What is added to it."""

    counter: int
    """Its publisher's own, from 1, ascending; without gaps but for what was too large."""
    event: str
    data: bytes


class Backplane(ABC):
    """One stream on one server.

    A position is where an entry stands in it: so many digits in base 32, the most significant first, in an order that
    decoded() gives. The zero position, all "a", is in front of the first entry. An epoch is 13 such digits: it changes
    when the stream is deleted or made anew, or has lost its end, and all processes see the same.

    All coroutines run on the one event loop of the background thread, after open(), several at the same time. None of
    them waits for ever for a server that says nothing. They raise BackplaneError, with a text for operators; one that
    is cancelled leaves the engine usable. What the constructor is given wrongly is its TypeError or ValueError.
    """

    digits: int
    """Of a position: 13 or 26."""

    foreign: int = 0
    """Entries that somebody else has put there and that are not ours, read and ignored until now."""

    @abstractmethod
    async def open(self) -> None:
        """Connect. To be called again after each trouble, and then on another loop if a fork has left this one behind;
        cheap while there is a connection."""

    @abstractmethod
    async def close(self) -> None:
        """Give the connections up that no other engine object uses. Raises nothing; open() may follow."""

    @abstractmethod
    async def epoch(self) -> str:
        """The epoch, of a stream that is made where there is none."""

    @abstractmethod
    async def renewed(self, epoch: str) -> str:
        """Give the stream of that epoch another one, and return it; that which it has, if somebody else was first.

        To be called where the server has lost the end of the stream, and may give the same positions out again. All
        who follow it get PositionLost, some seconds later at the latest. Raises PositionLost where there is no stream.
        """

    @abstractmethod
    async def last(self) -> str:
        """The position of the newest entry, foreign or not; of what was the newest if that was trimmed away."""

    @abstractmethod
    async def covers(self, epoch: str, position: str) -> bool:
        """Whether all that ever came behind `position` is still there: its entry exists, or nothing came behind it, or
        it is the zero position of a stream that was never trimmed. May err to False, never to True."""

    @abstractmethod
    async def page(self, epoch: str, position: str, n: int) -> Page:
        """The entries right behind `position`: at most n, fewer where they are large, since PAGE_BYTES are aimed at;
        at least one, unless the stream ends there.

        Foreign entries are skipped. Raises PositionLost where covers() would say no: it is asked in the same breath, so
        that nothing is trimmed between.
        """

    @abstractmethod
    def tail(self, epoch: str, position: str) -> AsyncIterator[list[Entry]]:
        """The entries behind `position`, in lists of bounded size, and those that will come, for ever.

        Raises PositionLost at the latest where it would yield an entry of another epoch, or one behind entries that
        were trimmed away unread.
        """

    @abstractmethod
    async def publish(self, publisher: str, batch: Sequence[Item]) -> None:
        """Add the batch, in its order: all of it or nothing. What was added before is not added again, however often a
        batch or a part of it is tried again; `publisher` has one batch at a time.

        Raises PositionLost where there is no stream any more, and EntryTooLarge.
        """


def parts_of(url: str) -> SplitResult:
    """Raises ValueError, without what may be a part of the password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
        is_whole = "@" not in parts.path + parts.query + parts.fragment  # else all up to there is the password's
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError(
            "the port in the URL is no number, or its host no name; /, #, ?, @, [ and , in a password must be "
            "percent-encoded"
        )
    return parts


def decoded(position: str) -> int:
    """The place of a position, or of an epoch, in their order."""
    return int(position.translate(_VALUES), 32)


def encoded(number: int, digits: int) -> str:
    """The other way round."""
    return "".join(_DIGITS[number >> 5 * place & 31] for place in reversed(range(digits)))


def new_epoch() -> str:
    """One that nobody else has drawn."""
    return encoded(secrets.randbits(64), EPOCH_DIGITS)
