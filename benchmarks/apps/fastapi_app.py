"""FastAPI's own server-sent events as its documentation teaches them: a queue for each client, a path that yields.

The JSON is made once for all clients (`raw_data`), the event by FastAPI for each.
"""

import asyncio
from collections.abc import AsyncIterable

import msgspec
from control import Control
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent

queues = set()
api = FastAPI()


@api.get("/events", response_class=EventSourceResponse)
async def events() -> AsyncIterable[ServerSentEvent]:
    queue = asyncio.Queue()
    queues.add(queue)
    try:
        while True:
            yield ServerSentEvent(raw_data=await queue.get(), event="update")
    finally:
        queues.discard(queue)


def publish(data):
    text = msgspec.json.encode(data).decode()
    for queue in queues:
        queue.put_nowait(text)


app = Control(api, publish, lambda: len(queues))
