"""An EventStream on a backplane, ENGINE (a URL), on the stream "events"; and a way to broadcast numbers.

As a script it is a publisher: `node.py <name> <count> <events per second>` broadcasts and exits.
"""

import asyncio
import json
import os
import sys
import time

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream
from fastware_sse.backplane import BackplaneFull


def backplane():
    url, maxlen = os.environ["ENGINE"], int(os.environ.get("MAXLEN", 100_000))
    if url.startswith("nats"):
        from fastware_sse.nats import JetStream

        return JetStream(url, "events", maxlen=maxlen)
    from fastware_sse.redis import RedisStream

    return RedisStream(url, "events", maxlen=maxlen)


broadcaster = Broadcaster(backplane=backplane(), **json.loads(os.environ.get("BROADCASTER", "{}")))
broadcaster.register_event("message")
events = EventStream(broadcaster)


class Counting:
    """How many pages were asked for."""

    def __init__(self, backplane):
        self.pages, self._page = 0, backplane.page
        backplane.page = self

    def __call__(self, *arguments):
        self.pages += 1
        return self._page(*arguments)


reads = Counting(broadcaster._backplane.backplane)


def publish(name: str, count: int, rate: float) -> None:
    start = time.monotonic()
    for number in range(count):
        time.sleep(max(0, start + number / rate - time.monotonic()) if number % 10 == 0 else 0)
        while True:
            try:
                broadcaster.broadcast("message", f"{name} {number}")
                break
            except BackplaneFull:
                time.sleep(0.01)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        broadcaster.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["method"] != "POST":
        await events(scope, receive, send)
        return
    body, more = b"", True
    while more:
        request = await receive()
        body += request.get("body", b"")
        more = request.get("more_body", False)
    asked = json.loads(body)
    full = 0
    if "publish" in asked:
        await asyncio.to_thread(publish, *asked["publish"])
    for number in range(asked.get("burst", 0)):
        try:
            broadcaster.broadcast("message", f"burst {number}")
        except BackplaneFull:
            full += 1
    answer = json.dumps({"pid": os.getpid(), "full": full, "pages": reads.pages, **broadcaster.stats()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    publish(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    while broadcaster.stats()["backplane"]["queued_events"]:  # the end of a process would not wait for so long
        time.sleep(0.01)
