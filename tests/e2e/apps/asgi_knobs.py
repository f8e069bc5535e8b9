"""An ASGI application without a framework, whose Broadcaster and EventStream the test configures."""

import asyncio
import json
import os
import sys

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream

broadcaster = Broadcaster(**json.loads(os.environ.get("BROADCASTER", "{}")))
broadcaster.register_event("message")
events = EventStream(broadcaster, **json.loads(os.environ.get("EVENT_STREAM", "{}")))


def descriptors() -> int | None:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else None


async def app(scope, receive, send):
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
        for text in json.loads(body)["texts"]:
            broadcaster.broadcast("message", text)
    tasks = len(asyncio.all_tasks())
    answer = {"clients": broadcaster.client_count, "tasks": tasks, "descriptors": descriptors()}
    encoded = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(encoded)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": encoded})
