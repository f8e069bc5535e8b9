"""sse-starlette as its documentation teaches it: a queue for each client, a generator that yields what comes.

The JSON is made once for all clients, the event by sse-starlette for each.
"""

import asyncio

import msgspec
from control import Control
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

queues = set()


async def events(request):
    return EventSourceResponse(subscribe())


async def subscribe():
    queue = asyncio.Queue()
    queues.add(queue)
    try:
        while True:
            yield {"event": "update", "data": await queue.get()}
    finally:
        queues.discard(queue)


def publish(data):
    text = msgspec.json.encode(data).decode()
    for queue in queues:
        queue.put_nowait(text)


app = Control(Starlette(routes=[Route("/events", events)]), publish, lambda: len(queues))
