"""Server-sent events in BlackSheep, where the responder is mounted. Serve it with, for example:

uvicorn blacksheep_app:app

Listen with `curl -N http://127.0.0.1:8000/events`, send with `curl --json '{"name": "tea"}' http://127.0.0.1:8000/items`.
"""

from blacksheep import Application, FromJSON, get, post
from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream

broadcaster = Broadcaster(heartbeat_interval=30)
broadcaster.register_event("update")
app = Application()
app.mount("/events", EventStream(broadcaster))


@post("/items")
async def create_item(item: FromJSON[dict]):
    broadcaster.broadcast("update", {"action": "created", "item": item.value})
    return {"ok": True}


@get("/status")
async def status():
    return {"clients": broadcaster.client_count}
