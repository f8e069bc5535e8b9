"""Starlette with one asyncio.Queue for each client, written by hand: the event is formatted once for all of them."""

import asyncio

import msgspec
from control import Control
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

queues = set()


async def events(request):
    return StreamingResponse(subscribe(), media_type="text/event-stream")


async def subscribe():
    queue = asyncio.Queue()
    queues.add(queue)
    try:
        while True:
            yield await queue.get()
    finally:
        queues.discard(queue)


def publish(data):
    chunk = b"event: update\ndata: %b\n\n" % msgspec.json.encode(data)
    for queue in queues:
        queue.put_nowait(chunk)


app = Control(Starlette(routes=[Route("/events", events)]), publish, lambda: len(queues))
