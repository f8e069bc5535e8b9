"""The application under soak: one Broadcaster, served as EventStream and as fastware's route, and what it holds.

SOAK_BYTES is the size of an event's text; 100 of them are broadcast every second for as long as the server runs.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastware import Request, Router, create_app

from fastware_sse import Broadcaster, _core, sse_route
from fastware_sse.asgi import EventStream

RATE = 100
TEXT = "x" * int(os.environ.get("SOAK_BYTES", 100))

broadcaster = Broadcaster(heartbeat_interval=15)
broadcaster.register_event("tick")
events = EventStream(broadcaster, send_timeout=5)
router = Router()
router.add_route("GET", "/route", sse_route(broadcaster))


@router.post("/burst")
async def burst(request: Request) -> dict[str, Any]:
    """As many events in one go as may wait for a client: what can grow with the backlog has grown then."""
    for _ in range(broadcaster._buffer_size):
        broadcaster.broadcast("tick", {})
    return {}


@router.get("/status")
async def status(request: Request) -> dict[str, Any]:
    gc.collect()
    found = {
        "pid": os.getpid(),
        "clients": broadcaster.client_count,
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "bytes in the core": _core._alloc_live(),
        "references to Chunk": sys.getrefcount(_core.Chunk),  # each holds its type; the collector knows none of them
    }
    types = map(type, gc.get_objects())
    return found | Counter(one.__name__ for one in types if str(one.__module__).startswith("fastware_sse."))


@asynccontextmanager
async def publishing(app: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(_publish())
    yield
    task.cancel()


async def _publish() -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    for seq in itertools.count():
        await asyncio.sleep(start + seq / RATE - loop.time())
        broadcaster.broadcast("tick", {"seq": seq, "text": TEXT})


# With request_timing, fastware's default, RSS grows until its record of the last 10,000 requests is full.
framework = create_app(router, lifespan=publishing, request_timing=False)


async def app(scope: Any, receive: Any, send: Any) -> None:
    await (events if scope.get("path") == "/events" else framework)(scope, receive, send)
