"""An application whose Broadcaster the test configures, and that can be asked for bursts."""

import asyncio
import json
import os
import signal

from fastware import Router, create_app, serve

from fastware_sse import Broadcaster, sse_route

broadcaster = Broadcaster(**json.loads(os.environ["BROADCASTER"]))
broadcaster.register_event("message")

router = Router()
router.add_route("GET", "/events", sse_route(broadcaster))


@router.get("/stream")
async def stream(request):
    return await broadcaster.stream(request)


late = 0


@router.get("/late")
async def stream_after_the_others(request):
    """A stream that begins when all others have ended; one is expected to be open already."""
    global late
    late += 1
    while broadcaster.client_count:
        await asyncio.sleep(0.01)
    return await broadcaster.stream(request)


@router.post("/burst")
async def burst(request):
    for text in request.json["texts"]:
        broadcaster.broadcast("message", text)
    return {}


@router.get("/status")
async def status(request):
    return {"clients": broadcaster.client_count, "late": late}


@router.get("/handlers")
async def handlers(request):
    return {number.name: repr(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)}


app = create_app(router)

if __name__ == "__main__":
    serve(app, foreground=True, host="127.0.0.1", port=8000)
