"""Server-sent events in Quart. Serve it with, for example:

uvicorn quart_app:app

Listen with `curl -N http://127.0.0.1:8000/events`, send with `curl --json '{"name": "tea"}' http://127.0.0.1:8000/items`.
"""

from fastware_sse import Broadcaster
from quart import Quart, request

broadcaster = Broadcaster(heartbeat_interval=30)
broadcaster.register_event("update")
app = Quart(__name__)


@app.get("/events")
async def events():
    return await broadcaster.stream(request)


@app.post("/items")
async def create_item():
    broadcaster.broadcast("update", {"action": "created", "item": await request.get_json()})
    return {"ok": True}


@app.get("/status")
async def status():
    return {"clients": broadcaster.client_count}
