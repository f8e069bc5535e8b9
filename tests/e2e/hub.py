"""A Broadcaster of apps/direct_ways.py on a server, by its name and the way to it."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from client import LIMIT, Response
from servers import Server

OPENING = b":\n\n"


def frame(text: str) -> bytes:
    return f"event: message\ndata: {text}\n\n".encode()


def numbers(body: bytes, pad: str = "") -> range:
    """Those that a stream has brought, each followed by `pad`: whole, in order, with heartbeats and nothing else."""
    frames = body.removeprefix(OPENING).replace(b": heartbeat\n\n", b"")
    found = re.findall(rb"data: (\d+)", frames)
    first = int(found[0]) if found else 0
    expected = range(first, first + len(found))
    assert frames == b"".join(frame(f"{number}{pad}") for number in expected)
    return expected


class Hub:
    def __init__(self, server: Server, way: str = "bare", name: str = "hub") -> None:
        self.server = server
        self.name = name
        self.target = f"/{way}/{name}"

    async def ask(self, **asked: Any) -> dict[str, Any]:
        return await self.server.request("POST", f"/control/{self.name}", asked)

    async def publish(self, *texts: str) -> None:
        """In one go."""
        await self.ask(batches=[texts])

    async def close(self) -> None:
        await self.ask(close=True)

    async def until(self, *, at_most: dict[str, Any] | None = None, **expected: int) -> dict[str, Any]:
        """Ask until its stats() say so, and until no number of `at_most`, an earlier answer, is exceeded."""
        limits = {name: at_most[name] for name in ("tasks", "descriptors")} if at_most else {}
        connection = await self.server.connect()
        now: dict[str, Any] = {}
        try:
            async with asyncio.timeout(LIMIT):
                while True:
                    now = await connection.request("POST", f"/control/{self.name}", {})
                    reached = all(now[name] == number for name, number in expected.items())
                    if reached and all(now[name] is None or now[name] <= limit for name, limit in limits.items()):
                        return now
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"it never came to {expected}, with at most {limits}; now: {now}") from None
        finally:
            connection.close()

    async def open(self, number: int, headers: str = "") -> list[Response]:
        """So many clients more, each of which has seen the head of its response."""
        connections = [await self.server.connect() for _ in range(number)]
        return [await each.send("GET", self.target, headers=headers).head() for each in connections]


def without_foreign(body: bytes) -> bytes:
    """Without the comments of apps/foreign.py, which are all there and in order."""
    comments = [int(number) for number in re.findall(rb": foreign (\d+)\n\n", body)]
    assert comments == list(range(len(comments)))
    return re.sub(rb": foreign \d+\n\n", b"", body)


async def saw(streams: list[Response], text: str) -> None:
    """Wait until each has got the event `text`."""
    for stream in streams:
        await stream.until(found(stream, f"data: {text}\n".encode()))


def found(stream: Response, marker: bytes) -> Callable[[], bool]:
    """A condition: a chunk with `marker` in it has come. Each chunk is looked at once."""
    looked_at = 0

    def condition() -> bool:
        nonlocal looked_at
        begin, looked_at = looked_at, len(stream.chunks)
        return any(marker in chunk for chunk in stream.chunks[begin:])

    return condition
