"""A stream of Redis as the backplane of Broadcasters. Redis 6.2 or newer, or Valkey; not Redis Cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Any

from . import _outside
from ._extra import extra
from ._options import checked_maxlen, checked_name
from ._share import Share
from .backplane import (
    PAGE_BYTES,
    Backplane,
    Entry,
    EntryTooLarge,
    Item,
    Page,
    PositionLost,
    decoded,
    encoded,
    new_epoch,
)

with extra("redis"):
    from ._redis_server import Server, checked_url, name_of

__all__ = ["RedisStream", "publish"]

_HALF = 13  # digits of the milliseconds in an entry's id, and of the number behind them
_MOST = 2**64 - 1  # the largest of each
_START = b"0-0"
_DAY = 86_400
_MINUTE = 60
_CHECK = 5.0  # seconds
_LARGEST = 16 << 20  # bytes: so many are sent before a publisher gives up, and would try again for ever


class RedisStream(Backplane):
    """The stream under `key`. `maxlen` entries are kept, and some more: Redis removes them in groups."""

    digits = 2 * _HALF

    def __init__(self, url: str, key: str, *, maxlen: int = 10_000) -> None:
        """What redis-py takes may stand in the URL, but no timeout, retries, protocol or encoding:
        rediss://user:password@host:6379/0?ssl_ca_certs=/path."""
        self.url = checked_url(url)
        self.key = checked_name("key", key)
        self.maxlen = checked_maxlen(maxlen)
        self._remembered = _DAY
        self._share = Share(repr(self), Server, self.url)

    def __repr__(self) -> str:
        return f"RedisStream({name_of(self.url)!r}, {self.key!r})"

    async def open(self) -> None:
        server = self._share.take()
        async with server.asked(self.key):
            await server.ranges.ping()

    async def close(self) -> None:
        await self._share.release()

    async def epoch(self) -> str:
        server = self._share.server
        async with server.asked(self.key):
            found: bytes = await server.epoch([self.key], [new_epoch()])
        return found.decode()

    async def renewed(self, epoch: str) -> str:
        server = self._share.server
        async with server.asked(self.key):
            found: bytes | None = await server.renew([self.key], [epoch, new_epoch()])
        if found is None:
            raise PositionLost(f"there is no stream {self.key!r}")
        return found.decode()

    async def last(self) -> str:
        server = self._share.server
        async with server.asked(self.key):
            if not await server.ranges.exists(self.key):
                raise PositionLost(f"there is no stream {self.key!r}")
            info = await server.ranges.xinfo_stream(self.key)
        return _position(info["last-generated-id"])

    async def covers(self, epoch: str, position: str) -> bool:
        server = self._share.server
        async with server.asked(self.key):
            try:
                return bool(await server.covers([self.key], [epoch, _id(position)]))
            except PositionLost:
                return False

    async def page(self, epoch: str, position: str, n: int) -> Page:
        server, page, after = self._share.server, Page([], False), _id(position)
        while not page.entries and not page.is_last:
            async with server.asked(self.key):
                answer: list[Any] | None = await server.page([self.key], [epoch, after, n, PAGE_BYTES])
            if answer is None:
                raise PositionLost(f"the stream {self.key!r} does not reach back to {position}")
            is_last, after, *parts = answer
            raw = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
            page = Page([entry for each in raw if (entry := _made(*each)) is not None], is_last == 1)
        return page

    async def tail(self, epoch: str, position: str) -> AsyncIterator[list[Entry]]:
        server, now = self._share.server, asyncio.get_running_loop().time
        following = server.tail.follow(self.key.encode(), _id(position))
        async with server.explained(None), aclosing(following):
            known = now()
            async for found in following:
                # An entry that names the one before vouches for it. In all other cases the server is asked: what
                # is there now, after the read, was there at the read.
                # It is asked now and then in any case: epochs are renewed.
                if not _is_chain(found, _id(position)) or now() - known >= _CHECK:
                    if not await self.covers(epoch, position):
                        raise PositionLost(f"the stream {self.key!r} does not reach back to {position} any more")
                    known = now()
                if found:
                    entries = [entry for entry in map(_entry, found) if entry is not None]
                    self.foreign += len(found) - len(entries)
                    position = _position(found[-1][0])
                    if entries:
                        yield entries

    async def publish(self, publisher: str, batch: Sequence[Item]) -> None:
        server = self._share.server
        arguments: list[object] = [self.maxlen, self._remembered, publisher]
        for item in batch:
            if len(item.data) > _LARGEST:
                raise EntryTooLarge(f"with Redis {_LARGEST:,} bytes are the most, not {len(item.data):,}", item.counter)
            arguments += item
        async with server.asked(self.key):
            done = await server.publish([self.key, _counter_key(self.key, publisher)], arguments)
        if done is None:
            raise PositionLost(f"there is no stream {self.key!r}")


def publish(url: str, key: str, event: str, data: object, *, maxlen: int = 10_000) -> None:
    """Add one event to the stream, and return when it is there: for a process without a Broadcaster.

    It takes what broadcast() takes, and raises what it raises, and BackplaneError if the server is away or refuses.
    Give the same `maxlen` as everywhere.
    """
    stream = RedisStream(url, key, maxlen=maxlen)
    stream._remembered = _MINUTE  # nobody tries again after that
    _outside.publish(stream, event, data)


def _counter_key(key: str, publisher: str) -> str:
    """On a server of several parts it is kept beside the stream: the text in braces decides where."""
    return f"{key}:{publisher}" if "{" in key else f"{{{key}}}:{publisher}"


def _entry(raw: Any) -> Entry | None:
    """None for a foreign one."""
    entry_id, fields = raw
    if len(fields) != 6 or fields[0] != b"event" or fields[2] != b"data" or fields[4] != b"from":
        return None
    return _made(entry_id, fields[1], fields[3])


def _made(entry_id: bytes, event: bytes, data: bytes) -> Entry | None:
    """None where the event's name is not UTF-8: that is foreign too."""
    try:
        return Entry(_position(entry_id), event.decode(), data)
    except UnicodeDecodeError:
        return None


def _is_chain(found: list[Any], before: bytes) -> bool:
    """Whether each entry names the one before it as such, the first one `before`. Nothing was before the first ever."""
    if not found or before == _START:
        return False
    for entry_id, fields in found:
        if len(fields) != 6 or not fields[5].endswith(b" " + before):
            return False
        before = entry_id
    return True


def _position(entry_id: bytes) -> str:
    milliseconds, _, number = entry_id.partition(b"-")
    return _half(milliseconds) + _half(number)


@lru_cache(4096)
def _half(number: bytes) -> str:
    return encoded(int(number), _HALF)


def _id(position: str) -> bytes:
    """Raises PositionLost where Redis can have no entry behind it: clients make such positions up."""
    halves = decoded(position[:_HALF]), decoded(position[_HALF:])
    if max(halves) > _MOST or min(halves) == _MOST:
        raise PositionLost(f"no stream reaches to {position}")
    return b"%d-%d" % halves
