"""The application under load, and the process that serves it: python app.py SERVER PORT.

BENCH_WHICH says whose Broadcaster it is, BENCH_HEARTBEAT its heartbeat_interval (0: none).
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from time import perf_counter_ns
from typing import Any

from common import EVENT, IMPLEMENTATIONS, PAYLOAD, make_broadcaster
from fastware import Request, Router, create_app

WHICH = os.environ.get("BENCH_WHICH", "ours")
HEARTBEAT = float(os.environ.get("BENCH_HEARTBEAT", 0)) or None

broadcaster = make_broadcaster(WHICH, heartbeat_interval=HEARTBEAT)
router = Router()
router.add_route("GET", "/route", IMPLEMENTATIONS[WHICH].sse_route(broadcaster))
tasks: set[asyncio.Task[None]] = set()


@router.get("/events")
async def events(request: Request) -> Any:
    return await broadcaster.stream(request)


@router.post("/paced")
async def paced(request: Request) -> dict[str, Any]:
    """Begin to broadcast `events` events, `rate` of them a second."""
    task = asyncio.create_task(_pace(int(request.query_params["events"]), float(request.query_params["rate"])))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return {}


async def _pace(count: int, rate: float) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    for index in range(count):
        await asyncio.sleep(start + index / rate - loop.time())
        broadcaster.broadcast(EVENT, PAYLOAD)


@router.post("/burst")
async def burst(request: Request) -> dict[str, Any]:
    for _ in range(int(request.query_params["events"])):
        broadcaster.broadcast(EVENT, PAYLOAD)
    return {}


@router.get("/status")
async def status(request: Request) -> dict[str, Any]:
    return {"pid": os.getpid(), "clients": broadcaster.client_count}


@router.post("/collections")
async def collections(request: Request) -> dict[str, Any]:
    """Full garbage collections since the last call, and the longest of them in milliseconds."""
    found = {"count": full.count, "longest": full.longest / 1e6}
    full.count = full.longest = 0
    return found


class FullCollections:
    """A gc callback that counts the collections of the oldest generation and keeps the longest, in nanoseconds."""

    def __init__(self) -> None:
        self.count = self.longest = self._start = 0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] != 2:
            return
        if phase == "start":
            self._start = perf_counter_ns()
        else:
            self.count += 1
            self.longest = max(self.longest, perf_counter_ns() - self._start)


full = FullCollections()
gc.callbacks.append(full)
app = create_app(router)


def main(server: str, port: int) -> None:
    if server == "granian":
        from fastware import serve

        serve("app:app", foreground=True, host="127.0.0.1", port=port, loop="asyncio")
    else:
        import uvicorn

        uvicorn.run("app:app", port=port, loop="uvloop", http="httptools", log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
