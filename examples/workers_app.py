"""One event reaches the clients of all workers, and of all machines: by a stream of Redis that they share.

REDIS_URL=redis://127.0.0.1:6379 uvicorn --workers 4 workers_app:app
REDIS_URL=redis://127.0.0.1:6379 granian --interface asgi --workers 4 workers_app:app

Listen with `curl -N http://127.0.0.1:8000/events`, send with `curl -d hello http://127.0.0.1:8000/send`: whichever
worker answers. It needs a Redis, and `pip install '.[redis]'` in the checkout; for NATS see
fastware_sse.nats.JetStream.
"""

import os

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream
from fastware_sse.backplane import BackplaneFull
from fastware_sse.redis import RedisStream

redis_url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
# The last events are kept here for clients that come back, older ones are read from Redis.
broadcaster = Broadcaster(
    history=1_000, heartbeat_interval=30, retry=(1, 5), backplane=RedisStream(redis_url, key="news", maxlen=10_000)
)
broadcaster.register_event("message")
events = EventStream(broadcaster)


async def send_text(receive, send):
    text, more = b"", True
    while more:
        message = await receive()
        text, more = text + message.get("body", b""), message.get("more_body", False)
    status = 202  # it is on its way: broadcast() does not wait for Redis
    try:
        broadcaster.broadcast("message", text.decode(errors="replace"))
    except BackplaneFull:  # Redis has been away for long
        status = 503
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body"})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        broadcaster.close()  # what was broadcast is published, if Redis is there
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"] == "/send":
        await send_text(receive, send)
    else:
        await events(scope, receive, send)
