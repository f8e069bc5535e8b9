"""A stream of NATS JetStream as the backplane of Broadcasters. nats-server 2.9 or newer."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import lru_cache

from . import _outside
from ._extra import extra
from ._options import checked_maxlen, checked_name
from ._share import Share
from .backplane import Backplane, BackplaneError, Entry, Item, Page, PositionLost
from .backplane import decoded as _decoded
from .backplane import encoded as _encoded

with extra("nats"):
    from nats.js.api import Header, StreamConfig, StreamInfo
    from nats.js.errors import BadRequestError, NotFoundError

    from ._nats_connection import Connection
    from ._nats_credentials import checked_credentials
    from ._nats_epoch import UNIX, covers, epoch_of, renew
    from ._nats_publisher import OURS, Publisher
    from ._nats_reading import Found, check_end, follow, read, stored_at
    from ._nats_server import Address, Server, checked_tls, checked_url
    from ._nats_settings import Settings, settings_of

__all__ = ["JetStream", "publish"]

_DIGITS = 13
_CHECK = 5.0  # seconds after which who follows looks again whether the epoch is still that one
_WINDOW = 30.0  # seconds for which a stream of ours knows the ids of messages; that takes memory of the server
_FOREIGN = 1000  # messages to read at a time where none was ours
_MAKING = 100  # hundredths of a second that it may take until a new stream is all there
_NAME = re.compile(r"[^\s.*>/\\\x00-\x1f\x7f]+")

_log = logging.getLogger("fastware_sse")


class JetStream(Backplane):
    """The stream of that name, with a subject of the same name, on files, where there is none.

    A message is the event's name, a line feed and the data; its id holds the publisher and the counter. One that exists
    keeps its limits: make it yourself for replicas.
    """

    digits = _DIGITS

    def __init__(
        self,
        url: str,
        stream: str,
        *,
        maxlen: int = 10_000,
        tls: ssl.SSLContext | None = None,
        credentials: str | None = None,
    ) -> None:
        """Several servers of a cluster are separated by commas; a user, a password or a token stand in the URL.
        `credentials` is the path of a .creds file, read for each connection."""
        self.stream = checked_name("stream", stream)
        if not _NAME.fullmatch(stream):
            raise ValueError(f"the name of a stream has no space and none of .*>/\\: {stream!r}")
        self.maxlen = checked_maxlen(maxlen)
        self._address = Address(checked_url(url), checked_tls(tls), checked_credentials(credentials))
        self._share = Share(repr(self), Server, self._address)
        self._settings = Settings(stream, "", stream, _WINDOW, None, None)
        self._is_compared = False
        self._publishers: dict[str, Publisher] = {}
        self._seen = ("", "", "")  # the epoch and position of the last entry read, and when it was stored

    def __repr__(self) -> str:
        return f"JetStream({self._address.name!r}, {self.stream!r})"

    async def open(self) -> None:
        async with self._share.take().asked(self.stream):
            pass

    async def close(self) -> None:
        await self._share.release()

    async def epoch(self) -> str:
        server = self._share.server
        async with server.asked(self.stream) as connection:
            try:
                info = await connection.js.stream_info(self.stream)
            except NotFoundError:
                info = await self._made(connection)
            # Where several processes make it at the same time, some find it before it says when that was.
            for _ in range(_MAKING):
                if info.created is not None and info.created > UNIX:
                    break
                await asyncio.sleep(0.01)
                info = await connection.js.stream_info(self.stream)
            else:
                raise BackplaneError(f"the stream {self.stream!r} does not say when it was made")
        self._settings = settings_of(info)
        return self._settings.epoch

    async def renewed(self, epoch: str) -> str:
        server = self._share.server
        async with server.asked(self.stream) as connection:
            return await renew(connection.js, self.stream, epoch)

    async def _made(self, connection: Connection) -> StreamInfo:
        """The stream, which was not there."""
        config = StreamConfig(name=self.stream, subjects=[self.stream], max_msgs=self.maxlen, duplicate_window=_WINDOW)
        try:
            return await connection.js.add_stream(config)
        except BadRequestError as error:  # perhaps since another process is just making it
            try:
                return await connection.js.stream_info(self.stream)
            except NotFoundError:
                raise error from None

    async def _info(self) -> StreamInfo:
        server = self._share.server
        async with server.asked(self.stream) as connection:
            info = await connection.js.stream_info(self.stream)
        self._settings = settings_of(info)
        return info

    async def last(self) -> str:
        return _position((await self._info()).state.last_seq)

    async def covers(self, epoch: str, position: str) -> bool:
        return covers(await self._info(), epoch, position)

    async def page(self, epoch: str, position: str, n: int) -> Page:
        server = self._share.server
        page, sequence, number = Page([], False), _decoded(position), n
        async with server.ranging:
            info = await self._checked(epoch, position)  # clients make positions up: they cost no more than that
            while not page.entries and not page.is_last:
                async with server.asked(self.stream) as connection:
                    found, is_last = await read(connection, self.stream, sequence + 1, number)
                entries = [entry for each in found if (entry := self._entry(each)) is not None]
                page = Page(entries[:n], is_last and len(entries) <= n)
                sequence = found[-1][0] if found else sequence
                number = max(n, _FOREIGN)
            if not page.entries:
                check_end(info, sequence)
            await self._checked(epoch, position)  # what is there now was there
        return page

    async def _checked(self, epoch: str, position: str) -> StreamInfo:
        """What the stream says of itself. Raises PositionLost unless it covers the position."""
        info = await self._info()
        if not covers(info, epoch, position):
            raise PositionLost(f"the stream {self.stream!r} does not reach back to {position}")
        return info

    async def tail(self, epoch: str, position: str) -> AsyncIterator[list[Entry]]:
        server = self._share.server
        self._compare()
        with server.explained(self.stream):
            connection = await server.connected()
            last = _decoded(position)
            now = asyncio.get_running_loop().time
            known = -_CHECK  # when it was the stream of that epoch; a consumer sees no other, but epochs are renewed
            is_first = True
            async with aclosing(follow(connection, self.stream, max(last, 1))) as following:
                async for found in following:
                    if is_first and found:
                        is_first = False
                        if found[0][0] == last:
                            await self._recognize(epoch, position, found.pop(0))
                    is_whole = all(number == last + i for i, (number, _) in enumerate(found, 1))
                    if not is_whole or now() - known >= _CHECK:
                        await self._checked(epoch, position)
                        known = now()
                    if found:
                        entries = [(entry, each) for each in found if (entry := self._entry(each)) is not None]
                        self.foreign += len(found) - len(entries)
                        last, _ = found[-1]
                        position = _position(last)
                        if entries:
                            entry, each = entries[-1]
                            self._seen = epoch, entry.position, stored_at(each)
                            yield [entry for entry, _ in entries]

    def _compare(self) -> None:
        """Say once that the stream keeps less than was asked for."""
        most = self._settings.most
        if most is not None and most < self.maxlen and not self._is_compared:
            _log.warning("%s keeps %d messages, not %d: nats stream edit changes that", self, most, self.maxlen)
        self._is_compared = True

    async def _recognize(self, epoch: str, position: str, found: Found) -> None:
        """A server that has lost the end of the stream gives its numbers out again, perhaps beyond what we have seen:
        then another message stands where we were, and the stream is given another epoch."""
        seen, self._seen = self._seen, (epoch, position, stored_at(found))
        if seen[:2] == (epoch, position) and seen != self._seen:
            await self.renewed(epoch)
            raise PositionLost(f"the stream {self.stream!r} has lost its end")

    def _entry(self, found: Found) -> Entry | None:
        """None for a foreign one. Its subject says nothing: an operator may have given the stream another one since."""
        sequence, message = found
        event, line_feed, data = message.data.partition(b"\n")
        message_id = (message.headers or {}).get(Header.MSG_ID, "")
        if not line_feed or not message_id.startswith(OURS):
            return None
        try:
            return Entry(_position(sequence), event.decode(), data)
        except UnicodeDecodeError:
            return None

    async def publish(self, publisher: str, batch: Sequence[Item]) -> None:
        """Each message is confirmed by itself. Should the stream refuse one of a batch (its disk is full, say), those
        behind it may be there, and it comes after them when it is tried again."""
        server = self._share.server
        known = self._publishers.get(publisher)
        if known is None:
            info = await self._info()
            known = self._publishers[publisher] = Publisher(publisher, info.state.last_seq, epoch_of(info))
        with server.explained(self.stream):
            await known.publish(await server.connected(), self._settings, batch)


def publish(
    url: str,
    stream: str,
    event: str,
    data: object,
    *,
    maxlen: int = 10_000,
    tls: ssl.SSLContext | None = None,
    credentials: str | None = None,
) -> None:
    """Add one event to the stream, and return when it is there: for a process without a Broadcaster.

    It takes what broadcast() takes, and raises what it raises, and BackplaneError if the server is away or refuses.
    """
    _outside.publish(JetStream(url, stream, maxlen=maxlen, tls=tls, credentials=credentials), event, data)


def _position(sequence: int) -> str:
    return _front(sequence >> 5) + _encoded(sequence & 31, 1)


@lru_cache(1024)
def _front(number: int) -> str:
    return _encoded(number, _DIGITS - 1)
