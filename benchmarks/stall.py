"""What many clients do to one event loop: the longest stall of a broadcast, the cost of heartbeats. There is no server,
and send() does nothing."""

from __future__ import annotations

import asyncio
import gc
import time
from statistics import median
from time import perf_counter_ns
from typing import Any

import common
from common import EVENT, PAYLOAD, make_broadcaster
from fastware import Router, create_app
from result import Line, at_most

from fastware_sse.asgi import EventStream

READERS = 5_000
BROADCASTS = 15

IDLE = 10_000
INTERVAL = 0.5  # seconds between two heartbeats
BEATS = 2  # of each client in a block
BLOCKS = 3

SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/events",
    "raw_path": b"/events",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"host", b"x")],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 80),
}


class Requests:
    """Tasks that serve the stream of an application, as a server would, to clients for whom a send costs nothing."""

    def __init__(self, app: Any) -> None:
        self.sent = 0
        self._app = app
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, count: int, sent_by_each: int) -> None:
        """Returns once each has sent so much: what a stream begins with."""
        self._tasks = [asyncio.create_task(self._serve()) for _ in range(count)]
        await self.reach(count * sent_by_each)

    async def _serve(self) -> None:
        begins = iter([{"type": "http.request", "body": b"", "more_body": False}])
        stays = asyncio.Event()

        async def receive() -> dict[str, Any]:
            for message in begins:
                return message
            await stays.wait()
            raise AssertionError

        await self._app(SCOPE | {"state": {}}, receive, self._send)

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent += 1

    async def reach(self, sent: int, turn: float = 0) -> None:
        while self.sent < sent:
            await asyncio.sleep(turn)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


# ---- a broadcast ----


def stall() -> list[Line]:
    """Broadcasts to readers of the original, of ours in fastware, of ours alone, in turn; medians of the stalls."""
    return asyncio.run(_stall())


async def _stall() -> list[Line]:
    ours = make_broadcaster("ours")
    groups = {
        "original": _routed("original"),
        "sse_route": _routed("ours"),
        "EventStream alone": (ours, EventStream(ours)),
    }
    requests = {name: Requests(app) for name, (_, app) in groups.items()}
    for name, (broadcaster, _) in groups.items():
        await requests[name].start(READERS, 1)
        while broadcaster.client_count < READERS:
            await asyncio.sleep(0)
    found: dict[str, list[float]] = {name: [] for name in groups}
    ticker = Ticker()
    for _ in range(BROADCASTS):
        for name, (broadcaster, _) in groups.items():
            await asyncio.sleep(0.01)  # all are parked
            ticker.reset()
            target = requests[name].sent + READERS
            broadcaster.broadcast(EVENT, PAYLOAD)
            await requests[name].reach(target)
            found[name].append(ticker.longest / 1e6)
    ticker.stop()
    for one in requests.values():
        await one.stop()
    original = median(found.pop("original"))
    return [
        at_most(
            f"longest stall of the loop while one broadcast reaches {READERS:,} readers: {name} over the original",
            0.2,
            median(stalls) / original,
            f"{median(stalls):.2f} ms over {original:.1f} ms",
        )
        for name, stalls in found.items()
    ]


def _routed(which: str) -> tuple[Any, Any]:
    broadcaster = make_broadcaster(which)
    router = Router()
    router.add_route("GET", "/events", common.IMPLEMENTATIONS[which].sse_route(broadcaster))
    return broadcaster, create_app(router)


class Ticker:
    """A callback that runs in every turn of the loop, and keeps the longest time between two of its runs, in ns."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.reset()
        self._tick()

    def reset(self) -> None:
        self.longest, self._last = 0, perf_counter_ns()

    def _tick(self) -> None:
        now = perf_counter_ns()
        self.longest, self._last = max(self.longest, now - self._last), now
        self._handle = self._loop.call_soon(self._tick)

    def stop(self) -> None:
        self._handle.cancel()


# ---- heartbeats ----


def heartbeats() -> list[Line]:
    """Idle clients of an EventStream, then as many tasks with a wait_for() each, in turn."""
    return asyncio.run(_heartbeats())


async def _heartbeats() -> list[Line]:
    found: dict[str, list[float]] = {"ours": [], "wait_for": []}
    for _ in range(BLOCKS):
        broadcaster = make_broadcaster("ours", heartbeat_interval=INTERVAL)
        found["ours"].append(await _cost_of_beats(EventStream(broadcaster), 2))  # a head, a first body
        found["wait_for"].append(await _cost_of_beats(_wait_for_each, 0))
    ours, other = median(found["ours"]), median(found["wait_for"])
    what = f"heartbeats to {IDLE:,} idle clients: CPU, EventStream over one asyncio.wait_for() for each"
    return [at_most(what, 0.3, ours / other, f"{ours:.2f} us over {other:.2f} us for each heartbeat")]


async def _cost_of_beats(app: Any, sent_by_each: int) -> float:
    """Microseconds of the processor for each."""
    requests = Requests(app)
    await requests.start(IDLE, sent_by_each)
    await requests.reach(requests.sent + IDLE, turn=0.02)
    before, sent = time.process_time(), requests.sent
    await requests.reach(sent + BEATS * IDLE, turn=0.02)
    cost = (time.process_time() - before) / (requests.sent - sent) * 1e6
    await requests.stop()
    gc.collect()
    return cost


async def _wait_for_each(scope: Any, receive: Any, send: Any) -> None:
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    while True:
        try:
            body = await asyncio.wait_for(queue.get(), INTERVAL)
        except TimeoutError:
            body = b": heartbeat\n\n"
        await send({"type": "http.response.body", "body": body, "more_body": True})
