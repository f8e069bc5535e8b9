"""A Broadcaster in fastware: BENCH_WHICH says whose, BENCH_HEARTBEAT its heartbeat_interval (0: none)."""

import os

import fastware.sse
from control import Control
from fastware import Router, create_app

import fastware_sse

implementation = {"original": fastware.sse, "ours": fastware_sse}[os.environ["BENCH_WHICH"]]
broadcaster = implementation.Broadcaster(heartbeat_interval=float(os.environ["BENCH_HEARTBEAT"]) or None)
broadcaster.register_event("update")
router = Router()
router.add_route("GET", "/events", implementation.sse_route(broadcaster))


@router.get("/stream")
async def stream(request):
    return await broadcaster.stream(request)


app = Control(create_app(router), lambda data: broadcaster.broadcast("update", data), lambda: broadcaster.client_count)
