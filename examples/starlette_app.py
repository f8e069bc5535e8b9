"""Server-sent events in Starlette. Serve it with, for example:

uvicorn starlette_app:app

Listen with `curl -N http://127.0.0.1:8000/events`, send with `curl --json '{"name": "tea"}' http://127.0.0.1:8000/items`.
"""

from fastware_sse import Broadcaster, sse_route
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

broadcaster = Broadcaster(heartbeat_interval=30)
broadcaster.register_event("update")


async def create_item(request):
    broadcaster.broadcast("update", {"action": "created", "item": await request.json()})
    return JSONResponse({"ok": True})


async def status(request):
    return JSONResponse({"clients": broadcaster.client_count})


app = Starlette(
    routes=[
        Route("/events", sse_route(broadcaster)),
        Route("/items", create_item, methods=["POST"]),
        Route("/status", status),
    ]
)
