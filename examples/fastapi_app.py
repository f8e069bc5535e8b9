"""Server-sent events in FastAPI, documented in OpenAPI as text/event-stream. Serve it with, for example:

uvicorn fastapi_app:app

Listen with `curl -N http://127.0.0.1:8000/events`, send with `curl --json '{"name": "tea"}' http://127.0.0.1:8000/items`.
"""

from fastapi import FastAPI
from fastware_sse import Broadcaster
from fastware_sse.starlette import EventStreamResponse

broadcaster = Broadcaster(heartbeat_interval=30)
broadcaster.register_event("update")

app = FastAPI()


@app.get("/events", response_class=EventStreamResponse)
async def events():
    return EventStreamResponse(broadcaster)


@app.post("/items")
async def create_item(item: dict):
    broadcaster.broadcast("update", {"action": "created", "item": item})
    return {"ok": True}


@app.get("/status")
async def status():
    return {"clients": broadcaster.client_count}
