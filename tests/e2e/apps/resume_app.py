"""An EventStream with a history, whose events are the numbers from 1 on, published at once or by a thread at a rate."""

import json
import os
import threading
import time

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream

broadcaster = Broadcaster(**json.loads(os.environ["BROADCASTER"]))
broadcaster.register_event("message")
events = EventStream(broadcaster)


class Publisher:
    """Only one thread at a time publishes: the test stops the flow before it asks for more."""

    def __init__(self) -> None:
        self.number = 0
        self._over = threading.Event()
        self._thread = threading.Thread()

    def publish(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            broadcaster.broadcast("message", str(self.number))

    def flow(self, rate: float) -> None:
        self._over.clear()
        self._thread = threading.Thread(target=self._run, args=(rate,), daemon=True)
        self._thread.start()

    def _run(self, rate: float) -> None:
        start, sent = time.monotonic(), 0
        while not self._over.wait(min(1 / rate, 0.01)):
            due = int((time.monotonic() - start) * rate)
            self.publish(due - sent)
            sent = due

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


publisher = Publisher()


async def app(scope, receive, send):
    if scope["type"] != "http" or scope["method"] != "POST":
        await events(scope, receive, send)
        return
    body, more = b"", True
    while more:
        request = await receive()
        body += request.get("body", b"")
        more = request.get("more_body", False)
    asked = json.loads(body)
    if "publish" in asked:
        publisher.publish(asked["publish"])
    if "flow" in asked:
        publisher.flow(asked["flow"])
    if "stop" in asked:
        publisher.stop()
    answer = json.dumps({"number": publisher.number, **broadcaster.stats()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
