"""A blank page, and a Broadcaster that the test configures, on /events through fastware, on /stream without it."""

import json
import os

from fastware import BytesResponse, Router, create_app, serve

from fastware_sse import Broadcaster, sse_route
from fastware_sse.asgi import EventStream

broadcaster = Broadcaster(strict=False, **json.loads(os.environ["BROADCASTER"]))
stream = EventStream(broadcaster)

router = Router()
router.add_route("GET", "/events", sse_route(broadcaster))


@router.get("/")
async def page(request):
    # An empty icon, or the browser asks for one.
    return BytesResponse(b'<!doctype html><title>blank</title><link rel="icon" href="data:,">', "text/html")


@router.post("/broadcast")
async def broadcast(request):
    for event, data in request.json:
        broadcaster.broadcast(event, data)
    return {}


@router.post("/close")
async def close(request):
    broadcaster.close()
    return {}


@router.get("/status")
async def status(request):
    return {"clients": broadcaster.client_count}


framework = create_app(router)


async def app(scope, receive, send):
    await (stream if scope.get("path") == "/stream" else framework)(scope, receive, send)


if __name__ == "__main__":
    serve(app, foreground=True, host="127.0.0.1", port=8000)
