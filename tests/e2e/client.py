"""A small HTTP/1.1 client on a raw socket, strict about every byte, that can also misbehave as clients do.

What does not depend on HTTP/1.1 is in Wire, on which h2client.py stands too.
"""

import asyncio
import json
import re
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from decoder import Event, decode

LIMIT = 20  # seconds for anything that a server has to do; each takes milliseconds on an idle machine

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)")
_CHUNK_SIZE = re.compile(rb"0|[1-9a-fA-F][0-9a-fA-F]{0,7}")  # no extensions, no leading zeros: no server sends them


class ProtocolError(Exception):
    """The server has sent what HTTP does not allow, or not there."""


class Response:
    """What has arrived of the answer to one request."""

    def __init__(self, connection: "Wire", method: str) -> None:
        self.connection = connection
        self.method = method
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []
        """The body as the server cut it, or in one piece if it is not chunked."""
        self.size = 0
        self.complete = False
        """Whether the end has arrived, for a chunked body its last chunk."""

    def add(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.size += len(chunk)

    def clear(self) -> None:
        """Forget what has arrived of the body."""
        self.chunks.clear()
        self.size = 0

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def events(self) -> list[Event]:
        return decode(self.chunks)

    @property
    def data(self) -> list[str]:
        return [event.data for event in self.events]

    async def until(self, condition: Callable[[], bool]) -> None:
        await self.connection.until(condition)

    async def head(self) -> "Response":
        await self.until(lambda: self.status is not None)
        return self

    async def end(self) -> "Response":
        await self.until(lambda: self.complete)
        return self


class Wire(asyncio.Protocol):
    """One TCP connection, or TLS on it, whatever is spoken there."""

    def __init__(self) -> None:
        self.closed_by_server = False
        self._transport: asyncio.Transport | None = None
        self._error: Exception | None = None
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    # Each protocol's own.

    def send(self, method: str, target: str, data: Any = None) -> Response:
        """Write a request, with `data` as JSON, and return at once."""
        raise NotImplementedError

    def take(self, data: bytes) -> None:
        """Understand what has arrived. Raises ProtocolError."""
        raise NotImplementedError

    def rest(self) -> bytes:
        """What has arrived and is not whole."""
        raise NotImplementedError

    # What a client does.

    async def request(self, method: str, target: str, data: Any = None) -> Any:
        """Send a request and return the JSON of its answer."""
        response = await self.send(method, target, data).end()
        assert response.status == 200, response.body
        return json.loads(response.body)

    def read_on(self) -> None:
        self._transport.resume_reading()

    def close(self) -> None:
        """FIN, if everything that has arrived was read."""
        self._transport.close()

    def half_close(self) -> None:
        """FIN, and go on reading."""
        self._transport.write_eof()

    def reset(self) -> None:
        """RST."""
        no_linger = struct.pack("ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        self._transport.abort()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the server to bring `condition` about; one caller at a time."""
        async with asyncio.timeout(LIMIT):
            while not condition():
                if self._error is not None:
                    raise self._error
                if self._closed:
                    raise ProtocolError("the connection was closed too early")
                assert self._waiter is None
                self._waiter = asyncio.get_running_loop().create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None

    async def closed(self) -> None:
        """Wait for the server's FIN."""
        await self.until(lambda: self.closed_by_server)

    # What a server does: asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self.take(data)
        except ProtocolError as error:
            self._error = error
            self._transport.abort()
        self._wake()

    def eof_received(self) -> None:
        self.closed_by_server = True
        if rest := self.rest():
            self._error = ProtocolError(f"cut off after {rest[-80:]!r}")
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(Wire):
    """HTTP/1.1. Requests may be pipelined; their responses come in the same order."""

    def __init__(self) -> None:
        super().__init__()
        self._received = bytearray()
        self._open: deque[Response] = deque()

    def send(self, method: str, target: str, data: Any = None, headers: str = "") -> Response:
        """headers: lines to add, each with its end."""
        body = b"" if data is None else json.dumps(data).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{headers}"
        if data is not None:
            head += "Content-Type: application/json\r\n"
        response = self.expect(method)
        self.write(head.encode() + b"\r\n" + body)
        return response

    def expect(self, method: str) -> Response:
        """One more response is to come, to a request that the caller writes."""
        response = Response(self, method)
        self._open.append(response)
        return response

    def write(self, data: bytes) -> None:
        """Whatever the caller likes."""
        self._transport.write(data)

    def take(self, data: bytes) -> None:
        self._received += data
        while self._open and self._parse(self._open[0]):
            self._open.popleft()
        if self._received and not self._open:
            raise ProtocolError(f"bytes after the last response: {bytes(self._received[:80])!r}")

    def rest(self) -> bytes:
        return bytes(self._received)

    # Each of these returns whether it has come to the end of what it reads.

    def _parse(self, response: Response) -> bool:
        if response.status is None and not self._parse_head(response):
            return False
        if response.method == "HEAD":
            response.complete = True
        elif "transfer-encoding" in response.headers:
            response.complete = self._parse_chunks(response)
        else:
            response.complete = self._parse_sized(response)
        return response.complete

    def _parse_head(self, response: Response) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        status_line, *lines = bytes(self._received[:end]).split(b"\r\n")
        del self._received[: end + 4]
        for line in lines:
            name, value = _match(_HEADER, line).groups()
            key = name.decode().lower()
            if key in response.headers:
                raise ProtocolError(f"a second {key} header: {value!r}")
            response.headers[key] = value.decode("latin-1")
        coding = response.headers.get("transfer-encoding")
        if coding is not None and (coding != "chunked" or "content-length" in response.headers):
            raise ProtocolError(f"a body that ends in two ways, or in an unknown one: {response.headers}")
        response.status = int(_match(_STATUS_LINE, status_line)[1])
        return True

    def _parse_sized(self, response: Response) -> bool:
        size = int(response.headers["content-length"])
        if len(self._received) < size:
            return False
        response.add(bytes(self._received[:size]))
        del self._received[:size]
        return True

    def _parse_chunks(self, response: Response) -> bool:
        received, at = self._received, 0
        last = False
        while not last:
            end = received.find(b"\r\n", at, at + 10)
            if end < 0:
                if len(received) - at >= 10:
                    raise ProtocolError(f"not the size of a chunk: {bytes(received[at : at + 10])!r}")
                break
            size = int(_match(_CHUNK_SIZE, bytes(received[at:end]))[0], 16)
            stop = end + 2 + size + 2
            if len(received) < stop:
                break
            if received[stop - 2 : stop] != b"\r\n":
                raise ProtocolError(f"a chunk of {size} bytes that ends in {bytes(received[stop - 2 : stop])!r}")
            if size:
                response.add(bytes(received[end + 2 : stop - 2]))
            last = size == 0
            at = stop
        del received[:at]
        return last


def _match(pattern: re.Pattern[bytes], line: bytes) -> re.Match[bytes]:
    match = pattern.fullmatch(line)
    if match is None:
        raise ProtocolError(f"not understood: {line!r}")
    return match


Kind = TypeVar("Kind", bound=Wire)


async def connect(port: int, kind: type[Kind] = Connection, tls: ssl.SSLContext | None = None) -> Kind:
    name = {"server_hostname": "localhost"} if tls else {}
    _, connection = await asyncio.get_running_loop().create_connection(kind, "127.0.0.1", port, ssl=tls, **name)
    return connection


async def connect_without_reading(port: int, kind: type[Kind] = Connection) -> Kind:
    """A connection that takes nothing until read_on(), with a receive buffer as small as the kernel allows."""
    loop = asyncio.get_running_loop()
    raw = socket.socket()
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before connect(): it fixes the window's scale
    await loop.sock_connect(raw, ("127.0.0.1", port))
    transport, connection = await loop.create_connection(kind, sock=raw)
    transport.pause_reading()
    return connection


async def raw_answer(port: int, request: bytes) -> bytes:
    """All that comes, until the server closes, to a client that only sends `request`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(LIMIT):
        answer = await reader.read()
    writer.close()
    return answer


async def all_got(streams: Iterable[Response], texts: list[str]) -> None:
    """Wait until each has got exactly `texts`, as the data of its events."""
    last = f"data: {texts[-1]}\n\n".encode()
    for stream in streams:
        await stream.until(lambda stream=stream: bool(stream.chunks) and stream.chunks[-1].endswith(last))
        assert stream.data == texts
