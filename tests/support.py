"""What several test files need: requests, streams that are read as a framework reads them, and subprocesses."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from typing import Any

from fastware.request import Request

from fastware_sse import Broadcaster
from fastware_sse._core import Subscription

HEARTBEAT = ": heartbeat\n\n"


def request(method: str = "GET") -> Request:
    """What fastware hands to the handler of a route."""
    scope = {"type": "http", "method": method, "path": "/events", "query_string": b"", "headers": []}
    return Request(scope, {}, None)


def message(text: str, event: str = "message") -> str:
    """The wire form of a payload of one line."""
    return f"event: {event}\ndata: {text}\n\n"


def permissive(*arguments: Any, **keywords: Any) -> Broadcaster:
    return Broadcaster(*arguments, strict=False, **keywords)


async def turns(number: int = 4) -> None:
    """Let everything happen that is ready to happen: a wake-up, its task, and what these lead to."""
    for _ in range(number):
        await asyncio.sleep(0)


async def open_stream(broadcaster: Broadcaster, initial: Any = None) -> AsyncGenerator[str, None]:
    """A stream that nobody has read from, so not a client yet."""
    return (await broadcaster.stream(request(), initial)).generator


async def stuck_client(broadcaster: Broadcaster) -> AsyncGenerator[str, None]:
    """A stream whose reader has taken one chunk and then does something else: a client that is not parked."""
    stream = await open_stream(broadcaster, [("hello", "")])
    assert await anext(stream) == message("", "hello")
    return stream


def joined(broadcaster: Broadcaster) -> Subscription:
    """What a stream stands on: a client of the running loop that reads and parks when it is told to."""
    subscription = broadcaster._subscribe()
    subscription.join(asyncio.get_running_loop())
    return subscription


class Client:
    """A stream and the task that reads it to its end, as a framework does."""

    def __init__(self, stream: AsyncGenerator[str, None]) -> None:
        self.stream = stream
        self.chunks: list[str] = []
        self._progress = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        try:
            async for chunk in self.stream:
                self.chunks.append(chunk)
                self._progress.set()
        finally:
            await self.stream.aclose()

    async def has(self, count: int) -> list[str]:
        """Wait until it has read `count` chunks in all, and return all that it has read."""
        while len(self.chunks) < count:
            self._progress.clear()
            await self._progress.wait()
        return self.chunks

    async def end(self) -> list[str]:
        """Wait for the end of the stream, and return all that it has read."""
        await self.task
        return self.chunks

    async def leave(self) -> None:
        """Go away as fastware sees it: the task is cancelled."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def connect(broadcaster: Broadcaster, initial: Any = None) -> Client:
    """A client that is parked, having read `initial`."""
    client = Client(await open_stream(broadcaster, initial))
    await turns()
    return client


def run_python(
    code: str, *, ok: bool = True, timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `code` in a Python of its own; unless told otherwise it must succeed and complain of nothing."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | environment,
        check=False,
    )
    if ok:
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done
