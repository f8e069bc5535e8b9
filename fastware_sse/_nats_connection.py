"""One connection to NATS until it breaks, and what is sent to a stream over it."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport
from nats.errors import ConnectionClosedError
from nats.js import errors as js_errors
from nats.js.api import Header

PATIENCE = 5.0  # seconds for an answer

# However a connection ends, what the system has not sent by then it never does: it might come after the next try.
_NOT_AT_ALL = struct.pack("ii", 1, 0)

_REFUSED = re.compile('permissions violation for publish to "(.*)"')  # as the client library has it, in lower case

Message: TypeAlias = tuple[dict[str, str], bytes]
"""Headers and payload."""


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

    def refused(self, error: Exception) -> bool:
        """Whether the server will not confirm what is published to a stream. Then that batch fails at once."""
        found = _REFUSED.search(str(error))
        if found is None or found[1].startswith("$js."):
            return False
        for batch in self._batches.values():
            if batch.subject.lower() == found[1]:
                batch.fail(error)
        return True

    @contextmanager
    def woken(self, wake: Callable[[], None]) -> Iterator[None]:
        """By the end of the connection. It must not raise."""
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
        batch = self._batches[token] = _Batch(subject, len(messages))
        try:
            with self.woken(lambda: batch.fail(ConnectionClosedError())):
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


class _Batch:
    """What was published in one go and is not confirmed yet."""

    def __init__(self, subject: str, number: int) -> None:
        self.subject = subject
        self.last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._missing = number

    def fail(self, error: Exception) -> None:
        if not self.last.done():
            self.last.set_exception(error)

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
