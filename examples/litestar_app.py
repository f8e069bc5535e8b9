"""Server-sent events in Litestar. Serve it with, for example:

uvicorn litestar_app:app

Listen with `curl -N http://127.0.0.1:8000/events`, send with `curl --json '{"name": "tea"}' http://127.0.0.1:8000/items`.
"""

from fastware_sse import Broadcaster
from litestar import Litestar, Request, get, post
from litestar.types import ASGIApp

broadcaster = Broadcaster(heartbeat_interval=30)
broadcaster.register_event("update")


@get("/events")
async def events(request: Request) -> ASGIApp:
    return await broadcaster.stream(request)


@post("/items", status_code=200)
async def create_item(data: dict) -> dict:
    broadcaster.broadcast("update", {"action": "created", "item": data})
    return {"ok": True}


@get("/status")
async def status() -> dict:
    return {"clients": broadcaster.client_count}


app = Litestar([events, create_item, status])
