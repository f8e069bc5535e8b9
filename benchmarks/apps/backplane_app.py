"""A node of several: an EventStream on a backplane. BENCH_WHICH is the URL of its server.

GET /stats: those of the Broadcaster.
"""

import json
import os

from control import Control

from fastware_sse import Broadcaster
from fastware_sse._engine_of import engine_of
from fastware_sse.asgi import EventStream

url = os.environ["BENCH_WHICH"]
broadcaster = Broadcaster(buffer_size=0, backplane=engine_of(url).stream(url, "bench", maxlen=500_000))
broadcaster.register_event("update")
control = Control(
    EventStream(broadcaster), lambda data: broadcaster.broadcast("update", data), lambda: broadcaster.client_count
)


async def app(scope, receive, send):
    if scope.get("path") != "/stats":
        return await control(scope, receive, send)
    body = json.dumps(broadcaster.stats()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
