"""An ASGI application without a framework, whose Broadcaster and EventStream the test configures.

Beside it, on /route, the same Broadcaster in a handler of fastware.
"""

import asyncio
import json
import os
import sys

from fastware import Router, create_app

from fastware_sse import Broadcaster, sse_route
from fastware_sse.asgi import EventStream

broadcaster = Broadcaster(**json.loads(os.environ.get("BROADCASTER", "{}")))
broadcaster.register_event("message")
events = EventStream(broadcaster, **json.loads(os.environ.get("EVENT_STREAM", "{}")))
router = Router()
router.add_route("GET", "/route", sse_route(broadcaster))
fastware_app = create_app(router)


def descriptors() -> int | None:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else None


async def app(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == "/route":
        await fastware_app(scope, receive, send)
        return
    if scope["type"] != "http" or scope["path"] not in ("/burst", "/status"):
        await events(scope, receive, send)
        return
    body, more = b"", True
    while more:
        request = await receive()
        if request["type"] == "http.disconnect":
            return
        body += request.get("body", b"")
        more = request.get("more_body", False)
    if scope["path"] == "/burst":
        burst = json.loads(body)
        for text in burst["texts"]:
            broadcaster.broadcast("message", text)
            if burst.get("pause"):
                await asyncio.sleep(burst["pause"])
    tasks = len(asyncio.all_tasks())
    answer = {"clients": broadcaster.client_count, "tasks": tasks, "descriptors": descriptors()}
    encoded = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(encoded)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": encoded})
