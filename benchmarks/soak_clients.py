"""The clients of a soak: each opens a stream, leaves it in a way of its own, and fails the run if it sees what it
should not. Coroutines on bare sockets, since what they do to their sockets is the point."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress

from soak_server import HOST

Way = Callable[[int, str], Awaitable[None]]  # of leaving a stream: the port, the target
Turns = Iterator[tuple[Way, str]]

TARGETS = ["/events", "/route"]
PATIENCE = 120.0  # seconds for one client, from its connect to its close
SLOW = 60, 90  # seconds: until then the kernel's buffers, up to 4 MB, are full, and the server has noticed
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST

# Closed connections keep their ports for a minute: each of these addresses has some 28,000 of its own.
_addresses = itertools.cycle(f"127.0.0.{last}" for last in range(2, 18))
_BIND_ADDRESS_NO_PORT = 24  # from linux/in.h: connect() picks the port


class Client:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._loop = asyncio.get_running_loop()
        self._received = b""

    async def get(self, target: str) -> None:
        await self._loop.sock_sendall(self.connection, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    async def read(self, size: int = 65536) -> bytes:
        return await self._loop.sock_recv(self.connection, size)

    async def head(self) -> None:
        while b"\r\n\r\n" not in self._received:
            await self._more()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200") or b"text/event-stream" not in head:
            raise RuntimeError(f"unexpected answer: {head!r}")

    async def events(self, number: int) -> None:
        while self._received.count(b"event: tick") < number:
            await self._more()

    async def _more(self) -> None:
        data = await self.read()
        if not data:
            raise RuntimeError(f"the stream has ended after {self._received!r}")
        self._received += data

    async def end(self) -> None:
        while await self.read():
            pass

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.connection.close()


@asynccontextmanager
async def connected(port: int, receive_buffer: int = 0) -> AsyncIterator[Client]:
    """Closes with FIN if everything that has come was read, and nobody has reset the connection."""
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_IP, _BIND_ADDRESS_NO_PORT, 1)
        connection.bind((next(_addresses), 0))
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(connection, (HOST, port))
        yield Client(connection)


async def reset_at_once(port: int, target: str) -> None:
    async with connected(port) as one:
        one.reset()


async def reset_after_the_request(port: int, target: str) -> None:
    async with connected(port) as one:
        await one.get(target)
        one.reset()


async def reset_after_the_headers(port: int, target: str) -> None:
    async with connected(port) as one:
        await one.get(target)
        await one.head()
        one.reset()


async def fin_after_events(port: int, target: str) -> None:
    async with connected(port) as one:
        await one.get(target)
        await one.head()
        await one.events(3)


async def half_close(port: int, target: str) -> None:
    async with connected(port) as one:
        await one.get(target)
        await one.head()
        one.connection.shutdown(socket.SHUT_WR)
        await one.end()


WAYS = [reset_at_once, reset_after_the_request, reset_after_the_headers, fin_after_events, half_close]


async def visit(port: int, target: str) -> None:
    """Stay for a while, as a page does, and leave."""
    async with connected(port) as one:
        await one.get(target)
        await one.head()
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(5, 30)):
                await one.end()
                raise RuntimeError("the server has ended the stream of a client that reads at once")


async def read_nothing(port: int, target: str) -> None:
    async with connected(port, receive_buffer=4096) as one:
        await one.get(target)
        await asyncio.sleep(random.uniform(*SLOW))
        one.reset()


async def read_too_little(port: int, target: str) -> None:
    """And later everything that there is, to the end: the server must have given this client up."""
    async with connected(port, receive_buffer=4096) as one:
        await one.get(target)
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(*SLOW)):
                while await one.read(4096):
                    await asyncio.sleep(1)
        await one.end()


def turns(ways: list[Way]) -> Turns:
    """Each way through each target, for ever."""
    return itertools.cycle(itertools.product(ways, TARGETS))


async def leave(port: int, of: Turns, left: Counter[Way], *, at_once: int, pause: float = 0) -> None:
    """Open and leave a stream for each turn, `at_once` at a time, and count them in `left`."""

    async def one_after_another() -> None:
        for way, target in of:
            async with asyncio.timeout(PATIENCE):
                await way(port, target)
            left[way] += 1
            await asyncio.sleep(pause)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_another())
