"""What the harness asks of a Python app beside its stream, and an ASGI application that adds it to the measured one.

GET /status, POST /paced?events=&rate=&size=, POST /burst?events=&yields=, POST /lag?events=&rate=, POST /collections.
The broadcasts are done in here, in the server; it answers once it has made the last one.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections.abc import Callable
from statistics import quantiles
from time import perf_counter_ns
from typing import Any
from urllib.parse import parse_qsl

from payload import Payloads


class Control:
    def __init__(self, app: Any, publish: Callable[[dict[str, Any]], None], clients: Callable[[], int]) -> None:
        self._app = app
        self._actions = Actions(publish, clients)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path")
        if path not in self._actions.paths:
            return await self._app(scope, receive, send)
        body = await self._actions.answer(path, scope["query_string"].decode())
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Actions:
    def __init__(self, publish: Callable[[dict[str, Any]], None], clients: Callable[[], int]) -> None:
        self._publish = publish
        self._clients = clients
        self._payloads = Payloads()
        self.paths = {
            "/status": self._status,
            "/paced": self._paced,
            "/burst": self._burst,
            "/lag": self._lag,
            "/collections": FullCollections().take,
        }

    async def answer(self, path: str, query: str) -> bytes:
        """What is asked of `path`, as JSON."""
        numbers = {name: int(value) for name, value in parse_qsl(query)}
        return json.dumps(await self.paths[path](**numbers)).encode()

    async def _status(self) -> dict[str, int]:
        return {"pid": os.getpid(), "clients": self._clients()}

    async def _paced(self, events: int, rate: int, size: int) -> dict[str, int]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        for index in range(events):
            await asyncio.sleep(start + index / rate - loop.time())
            self._publish(self._payloads.next(size))
        return {}

    async def _burst(self, events: int, yields: int) -> dict[str, float]:
        """Without a pause, or with a turn of the loop after each; returns the ns that each has taken."""
        payloads = self._payloads.burst(events)
        start = perf_counter_ns()
        for data in payloads:
            self._publish(data)
            if yields:
                await asyncio.sleep(0)
        return {"each": (perf_counter_ns() - start) / events}

    async def _lag(self, events: int, rate: int) -> dict[str, float]:
        """How late, in ms, a task is that wakes every millisecond meanwhile: the 99th of 100."""
        late: list[float] = []
        watch = asyncio.create_task(_watch(late))
        await self._paced(events, rate, 0)
        watch.cancel()
        return {"p99": quantiles(late, n=100)[98] * 1e3}


async def _watch(late: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.001
        await asyncio.sleep(0.001)
        late.append(loop.time() - due)


class FullCollections:
    """Full garbage collections: how many since the last question, and the longest, in milliseconds."""

    def __init__(self) -> None:
        self._count = self._longest = self._start = 0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] != 2:
            return
        if phase == "start":
            self._start = perf_counter_ns()
        else:
            self._count += 1
            self._longest = max(self._longest, perf_counter_ns() - self._start)

    async def take(self) -> dict[str, float]:
        found = {"count": self._count, "longest": self._longest / 1e6}
        self._count = self._longest = 0
        return found
