"""Every way to a stream, at /WAY/HUB, of Broadcasters that are made when asked for, and fed and closed by /control.

A way's framework is imported with its first request.
"""

import asyncio
import functools
import json
import os
import sys
import threading
import time

from foreign import foreign

from fastware_sse import Broadcaster, sse_route
from fastware_sse.asgi import EventStream

OPTIONS = json.loads(os.environ.get("BROADCASTER", "{}"))
EVENT_STREAM = json.loads(os.environ.get("EVENT_STREAM", "{}"))


@functools.cache
def hub(name):
    made = Broadcaster(**OPTIONS, on_disconnect=print if "TELL" in os.environ else None)
    made.register_event("message")
    return made


def stream_of(scope):
    return EventStream(hub(scope["path"].rpartition("/")[2]), **EVENT_STREAM)


async def bare(scope, receive, send):
    await stream_of(scope)(scope, receive, send)


def starlette(*middleware):
    from starlette.applications import Starlette
    from starlette.routing import Route

    async def events(request):
        return await hub(request.path_params["hub"]).stream(request)

    return Starlette(routes=[Route("/{way}/{hub}", events)], middleware=middleware)


def passing():
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware

    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    return starlette(Middleware(Passing), Middleware(Passing))


def compressing(**options):
    from starlette.middleware import Middleware
    from starlette.middleware.gzip import GZipMiddleware

    return starlette(Middleware(GZipMiddleware, **options))


def fastapi():
    from fastapi import FastAPI

    from fastware_sse.starlette import EventStreamResponse

    app = FastAPI()

    @app.get("/{way}/{name}", response_class=EventStreamResponse)
    async def events(way: str, name: str):
        return EventStreamResponse(hub(name))

    return app


def fastware(respond):
    from fastware import Router, create_app

    router = Router()

    @router.get("/{way}/{name}")
    async def events(request):
        return await respond(hub(request.path_params["name"]), request)

    return create_app(router)


async def rewriting(scope, receive, send):
    """Changes every body."""

    async def rewrite(message):
        if message["type"] == "http.response.body":
            message = message | {"body": message["body"].replace(b"\n\n", b"\n: rewritten\n\n")}
        await send(message)

    await bare(scope, receive, rewrite)


WAYS = {
    "bare": lambda: bare,
    "starlette": starlette,
    "fastapi": fastapi,
    "fastware": lambda: fastware(lambda broadcaster, request: sse_route(broadcaster)(request)),
    "fastware-stream": lambda: fastware(Broadcaster.stream),
    "passing": passing,
    "gzip": compressing,
    "gzip-forced": lambda: compressing(exclude_content_types=()),
    "rewriting": lambda: rewriting,
    "foreign": lambda: foreign(bare, 0.01, 0.05),
}


@functools.cache
def way(name):
    return WAYS[name]()


class Flow:
    """A thread that broadcasts the numbers from 0 on, so many a second."""

    def __init__(self, broadcaster, rate):
        self.number = 0
        self._broadcaster = broadcaster
        self._rate = rate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        begin = time.monotonic()
        while not self._over.wait(0.0002):
            due = int((time.monotonic() - begin) * self._rate)
            while self.number < due and not self._over.is_set():
                self._broadcaster.broadcast("message", str(self.number))
                self.number += 1

    def stop(self):
        self._over.set()
        self._thread.join()


flows = {}


async def control(name, asked):
    """What the test asks of a hub. Returns how it stands after that."""
    broadcaster = hub(name)
    for batch in asked.get("batches", []):
        for text in batch:
            broadcaster.broadcast("message", text)
        await asyncio.sleep(asked.get("pause", 0))
    if "flow" in asked:
        flows[name] = Flow(broadcaster, asked["flow"])
    if "stop" in asked:
        flows[name].stop()
    if "close" in asked:
        broadcaster.close()
    tasks = len(asyncio.all_tasks())
    number = flows[name].number if name in flows else None
    return broadcaster.stats() | {"tasks": tasks, "descriptors": descriptors(), "number": number, "pid": os.getpid()}


def descriptors():
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else None


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    _, first, name, *_ = scope["path"].split("/")
    if first != "control":
        await way(first)(scope, receive, send)
        return
    body, more = b"", True
    while more:
        request = await receive()
        if request["type"] == "http.disconnect":
            return
        body += request.get("body", b"")
        more = request.get("more_body", False)
    encoded = json.dumps(await control(name, json.loads(body or "{}"))).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(encoded)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": encoded})
