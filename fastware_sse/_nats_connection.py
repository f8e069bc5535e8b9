"""One connection to NATS until it breaks: what is sent to a stream, and what is read from one."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport
from nats.errors import ConnectionClosedError, Error
from nats.js import errors as js_errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, Header

PATIENCE = 5.0  # seconds for an answer

# However a connection ends, what the system has not sent by then it never does: it might come after the next try.
_NOT_AT_ALL = struct.pack("ii", 1, 0)

_HEARTBEAT = 1.0  # seconds of silence after which the server says that a consumer lives
_UNUSED = 10.0  # seconds after which the server forgets a consumer that nobody reads

Message: TypeAlias = tuple[dict[str, str], bytes]
"""Headers and payload."""

Found: TypeAlias = tuple[int, Msg]
"""A message, and its number in the stream."""


class Connection:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.js = client.jetstream(timeout=PATIENCE)
        self._socket: Any = None
        self._is_given_up = False
        self._batches: dict[str, _Batch] = {}  # by the last word of the subject to which they are acknowledged
        self._inbox = ""
        self._number = 0
        self._wakes: set[Callable[[], None]] = set()

    async def begin(self) -> None:
        """To be called once it is connected."""
        transport: Any = self.client._transport
        is_tcp = isinstance(transport, TcpTransport)
        self._socket = (transport._io_writer if is_tcp else transport._ws).get_extra_info("socket")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOT_AT_ALL)
        self._inbox = self.client.new_inbox()
        await self.client.subscribe(f"{self._inbox}.*", cb=self._on_ack)

    @property
    def is_usable(self) -> bool:
        return self.client.is_connected and not self._is_given_up

    def give_up(self) -> None:
        """End it, with all that it holds."""
        self._is_given_up = True
        with suppress(OSError), socket.socket(fileno=os.dup(self._socket.fileno())) as its:
            its.shutdown(socket.SHUT_RDWR)

    async def on_closed(self) -> None:
        for wake in list(self._wakes):
            wake()

    @contextmanager
    def woken(self, wake: Callable[[], None]) -> Iterator[None]:
        """By the end of the connection."""
        self._wakes.add(wake)
        try:
            yield
        finally:
            self._wakes.discard(wake)

    async def publish(self, subject: str, messages: list[Message]) -> int:
        """All of them at once; waits until the stream has confirmed each. Returns where the last one stands.

        Without an answer the connection is given up: nothing is tried on it again, nor does it deliver this late.
        """
        self._number += 1
        token = str(self._number)
        batch = self._batches[token] = _Batch(len(messages))
        try:
            with self.woken(batch.cut):
                async with asyncio.timeout(PATIENCE):
                    for headers, payload in messages:
                        await self.client.publish(subject, payload, f"{self._inbox}.{token}", headers)
                    return await batch.last
        except (TimeoutError, asyncio.CancelledError):
            self.give_up()
            raise
        finally:
            del self._batches[token]

    async def _on_ack(self, message: Msg) -> None:
        batch = self._batches.get(message.subject.rpartition(".")[2])
        if batch is not None:
            batch.acknowledged(message)

    async def follow(self, stream: str, sequence: int) -> AsyncGenerator[list[Found], None]:
        """What the stream has from there on, for ever, and without a hole that the connection has made.

        An ordered consumer: the server numbers what it delivers, and nothing is acknowledged. The client library's own
        one begins anew by itself, even at the very first entry, when its first heartbeats are late.
        """
        consumer = _Consumer(self.client)
        inbox = self.client.new_inbox()
        subscription = await self.client.subscribe(inbox, cb=consumer.on_message, pending_bytes_limit=0)
        config = ConsumerConfig(
            deliver_subject=inbox,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=sequence,
            ack_policy=AckPolicy.NONE,
            idle_heartbeat=_HEARTBEAT,
            flow_control=True,
            inactive_threshold=_UNUSED,
            mem_storage=True,
            num_replicas=1,
        )
        try:
            with self.woken(consumer.heard.set):
                await self.client.jsm(timeout=PATIENCE).add_consumer(stream, config)
                while True:
                    async with asyncio.timeout(PATIENCE):
                        await consumer.heard.wait()
                    yield await consumer.taken()
        finally:
            with suppress(Error):
                await subscription.unsubscribe()

    async def read(self, stream: str, sequence: int, number: int) -> tuple[list[Found], bool]:
        """At most so many messages from there on, and whether the stream ends behind them."""
        manager = self.client.jsm(timeout=PATIENCE)
        name = f"fastware_sse_{secrets.token_hex(8)}"
        config = ConsumerConfig(
            name=name,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=sequence,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=_UNUSED,
            mem_storage=True,
            num_replicas=1,
        )
        pending = (await manager.add_consumer(stream, config)).num_pending or 0
        collected = _Collected(min(number, pending))
        inbox = self.client.new_inbox()
        subscription = await self.client.subscribe(inbox, cb=collected.on_message, pending_bytes_limit=0)
        try:
            # What the client library's fetch() asks for, too; it takes three times the processor time to collect it.
            request = msgspec.json.encode({"batch": collected.wanted, "no_wait": True})
            if collected.wanted:
                await self.client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}", request, inbox)
                async with asyncio.timeout(PATIENCE):
                    await collected.all
        finally:
            with suppress(Error):
                await subscription.unsubscribe()
                await manager.delete_consumer(stream, name)
        return collected.found, pending <= number


class _Batch:
    """What was published in one go and is not confirmed yet."""

    def __init__(self, number: int) -> None:
        self.last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._missing = number

    def cut(self) -> None:
        if not self.last.done():
            self.last.set_exception(ConnectionClosedError())

    def acknowledged(self, message: Msg) -> None:
        if self.last.done():
            return
        self._missing -= 1
        if message.headers and message.headers.get(Header.STATUS) == "503":
            self.last.set_exception(js_errors.NoStreamResponseError())
            return
        answer = msgspec.json.decode(message.data)
        if "error" in answer:
            error = answer["error"]
            self.last.set_exception(js_errors.APIError(error["code"], error["description"], error["err_code"]))
        elif self._missing == 0:
            self.last.set_result(answer["seq"])


class _Collected:
    """What the server sends of so many messages that it was asked for."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.found: list[Found] = []
        self.all: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def on_message(self, message: Msg) -> None:
        if message.headers and Header.STATUS in message.headers:
            if not self.all.done():
                self.all.set_exception(Error("messages went away while they were read"))
            return
        self.found.append((_sequences(message)[0], message))
        if len(self.found) == self.wanted and not self.all.done():
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
