"""What one publisher adds to a stream of JetStream, and how nothing of it is there twice."""

from __future__ import annotations

import time
from collections.abc import Sequence

from nats.js.api import Header

from ._nats_connection import PATIENCE, Connection, Message
from ._nats_reading import check_end, read
from ._nats_settings import Settings
from .backplane import EntryTooLarge, Item

OURS = "fastware-sse."
"""What the id of a message begins with; the publisher and its counter follow."""

_HEADERS = 256  # bytes, at most
_READ_BACK = 500  # messages at a time


class Publisher:
    """The server knows a message that it has, for a while. After that one looks what is there before trying again."""

    def __init__(self, name: str, behind: int, epoch: str) -> None:
        """Nothing up to `behind` in the stream of that epoch is of this publisher."""
        self._prefix = f"{OURS}{name}"
        self._behind = behind
        self._epoch = epoch
        self._tried: float | None = None  # when messages were first sent of which nobody knows whether they are there

    async def publish(self, connection: Connection, settings: Settings, batch: Sequence[Item]) -> None:
        largest = min(connection.client.max_payload, settings.largest or connection.client.max_payload)
        messages = [self._message(item, largest) for item in batch]
        if settings.epoch != self._epoch:
            self._behind, self._epoch = 0, settings.epoch  # another stream's numbers say nothing
        if self._tried is None:
            self._tried = time.monotonic()
        elif time.monotonic() - self._tried + 2 * PATIENCE > settings.window:  # this one takes some time, too
            done = await self._counters(connection, settings.stream)
            messages = [message for message, item in zip(messages, batch, strict=True) if item.counter not in done]
        if messages:
            self._behind = await connection.publish(settings.subject, messages)
        self._tried = None

    def _message(self, item: Item, largest: int) -> Message:
        payload = b"%b\n%b" % (item.event.encode(), item.data)
        if len(payload) + _HEADERS > largest:
            raise EntryTooLarge(f"NATS takes {largest:,} bytes, not {len(payload) + _HEADERS:,}", item.counter)
        return {Header.MSG_ID: f"{self._prefix}.{item.counter}"}, payload

    async def _counters(self, connection: Connection, stream: str) -> set[int]:
        """Of what the stream has of this publisher. There may be holes: each message is taken or refused by itself."""
        counters: set[int] = set()
        info = await connection.js.stream_info(stream)
        sequence, is_last = self._behind, False
        while not is_last:
            found, is_last = await read(connection, stream, sequence + 1, _READ_BACK)
            for sequence, message in found:  # noqa: B007
                prefix, _, number = (message.headers or {}).get(Header.MSG_ID, "").rpartition(".")
                if prefix == self._prefix:
                    counters.add(int(number))
        check_end(info, sequence)
        return counters
