"""What is read from a stream of JetStream: as it comes, and from a place far back. Each reader has a consumer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError, Error
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, Header, StreamInfo

from ._nats_connection import PATIENCE, Connection
from .backplane import PAGE_BYTES, BackplaneError

_HEARTBEAT = 1.0  # seconds of silence after which the server says that a consumer lives
_UNUSED = 10.0  # seconds after which the server forgets a consumer that nobody reads
_PARTING = 0.5  # seconds for its answer that it has forgotten one: who is cancelled may have no more
_FULL = "Message Size Exceeds MaxBytes"

Found: TypeAlias = tuple[int, Msg]
"""A message, and its number in the stream."""


async def follow(connection: Connection, stream: str, sequence: int) -> AsyncGenerator[list[Found], None]:
    """What the stream has from there on, for ever, and without a hole that the connection has made.

    An ordered consumer: the server numbers what it delivers, and nothing is acknowledged. The client library's own
    one begins anew by itself, even at the very first entry, when its first heartbeats are late.
    """
    client = connection.client
    consumer = _Consumer(client)
    async with _inbox_of(client, consumer.on_message) as inbox:
        config = _config(sequence, deliver_subject=inbox, idle_heartbeat=_HEARTBEAT, flow_control=True)
        with connection.woken(consumer.heard.set):
            await client.jsm(timeout=PATIENCE).add_consumer(stream, config)
            while True:
                async with asyncio.timeout(PATIENCE):
                    await consumer.heard.wait()
                yield await consumer.taken()


async def read(connection: Connection, stream: str, sequence: int, number: int) -> tuple[list[Found], bool]:
    """At most so many messages from there on, about PAGE_BYTES of them, but one at least; and whether the stream ends
    behind them, as far as the consumer's server knows."""
    client = connection.client
    name = f"fastware_sse_{secrets.token_hex(8)}"
    pending = (await client.jsm(timeout=PATIENCE).add_consumer(stream, _config(sequence, name=name))).num_pending or 0
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"
    found: list[Found] = []
    try:
        if wanted := min(number, pending):
            found = await _pulled(client, subject, wanted, max_bytes=PAGE_BYTES)
            if not found:  # the first is larger than that
                found = await _pulled(client, subject, 1)
    finally:
        with suppress(Error):
            await client.jsm(timeout=_PARTING).delete_consumer(stream, name)
    return found, pending <= len(found)


def check_end(info: StreamInfo, sequence: int) -> None:
    """To be called where a consumer knows of nothing behind that message, with what the stream said of itself before.
    In a cluster the consumer may be on a server that lags behind. Raises BackplaneError then."""
    state = info.state
    is_last = max(sequence, state.first_seq - 1) >= state.last_seq
    if not is_last and not state.num_deleted:  # the last one may have been deleted by hand
        raise BackplaneError(f"a server of the cluster has no messages behind {sequence} yet")


async def _pulled(client: Client, subject: str, number: int, **limit: int) -> list[Found]:
    """So many messages of a consumer, or fewer if there is a limit."""
    collected = _Collected(number)
    # What the client library's fetch() asks for, too; it takes three times the processor time to collect it.
    request = msgspec.json.encode({"batch": number, "no_wait": True, **limit})
    async with _inbox_of(client, collected.on_message) as inbox, asyncio.timeout(PATIENCE):
        await client.publish(subject, request, inbox)
        await collected.all
    return collected.found


@asynccontextmanager
async def _inbox_of(client: Client, take: Callable[[Msg], Awaitable[None]]) -> AsyncIterator[str]:
    """A subject of which take() gets the messages."""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=take, pending_bytes_limit=0)
    try:
        yield inbox
    finally:
        with suppress(Error):
            await subscription.unsubscribe()


def _config(sequence: int, **more: Any) -> ConsumerConfig:
    """Of a consumer that begins there, and costs the server as little as it can."""
    return ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=sequence,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=_UNUSED,
        mem_storage=True,
        num_replicas=1,
        **more,
    )


class _Collected:
    """What the server sends of so many messages that it was asked for."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.found: list[Found] = []
        self.all: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def on_message(self, message: Msg) -> None:
        headers = message.headers
        if headers and Header.STATUS in headers:
            if not self.all.done():
                if headers.get(Header.DESCRIPTION) == _FULL:
                    self.all.set_result(None)
                else:
                    self.all.set_exception(Error("messages went away while they were read"))
            return
        self.found.append((_sequences(message)[0], message))
        if len(self.found) == self._wanted and not self.all.done():
            self.all.set_result(None)


class _Consumer:
    """What the server has delivered and nobody has taken yet."""

    def __init__(self, client: Client) -> None:
        self.heard = asyncio.Event()
        """Set by anything that comes, and by the end of the connection."""
        self._client = client
        self._found: list[Found] = []
        self._delivered = 0
        self._reply = ""  # to tell the server that there is room for more
        self._is_whole = True

    async def on_message(self, message: Msg) -> None:
        headers = message.headers
        if headers and headers.get(Header.STATUS) == "100":
            self._reply = message.reply or headers.get(Header.CONSUMER_STALLED, "") or self._reply
            number = int(headers.get(Header.LAST_CONSUMER, self._delivered))
            self._is_whole = self._is_whole and number == self._delivered
        else:
            self._delivered += 1
            sequence, number = _sequences(message)
            self._is_whole = self._is_whole and number == self._delivered
            self._found.append((sequence, message))
        self.heard.set()

    async def taken(self) -> list[Found]:
        if self._client.is_closed:
            raise ConnectionClosedError
        if not self._is_whole:
            raise Error("messages are missing between what a consumer was delivered")
        found, self._found = self._found, []
        reply, self._reply = self._reply, ""
        self.heard.clear()
        if reply:
            await self._client.publish(reply)
        return found


def stored_at(found: Found) -> str:
    """When the message was stored, in nanoseconds. Another one that is stored in its place is so at another time."""
    _, message = found
    return _words(message)[2]


def _sequences(message: Msg) -> tuple[int, int]:
    """The number of a message in its stream, and among those that its consumer was delivered."""
    in_stream, in_consumer, *_ = _words(message)
    return int(in_stream), int(in_consumer)


def _words(message: Msg) -> list[str]:
    """From "in stream" on, of the subject for replies: "$JS.ACK.stream.consumer.times.<in stream>.<in consumer>.time.
    pending", or with two more words in front and one behind. Msg.metadata makes far more of it."""
    words = message.reply.split(".")
    return words[5 if len(words) == 9 else 7 :]
