"""Server-sent events in aiohttp. Run it as `python aiohttp_app.py`.

Listen with `curl -N http://127.0.0.1:8000/events`, send with `curl --json '{"name": "tea"}' http://127.0.0.1:8000/items`.
"""

from aiohttp import web
from fastware_sse import Broadcaster

broadcaster = Broadcaster(heartbeat_interval=30)
broadcaster.register_event("update")
routes = web.RouteTableDef()


@routes.get("/events")
async def events(request):
    return await broadcaster.stream(request)


@routes.post("/items")
async def create_item(request):
    broadcaster.broadcast("update", {"action": "created", "item": await request.json()})
    return web.json_response({"ok": True})


@routes.get("/status")
async def status(request):
    return web.json_response({"clients": broadcaster.client_count})


async def end_streams(app):
    broadcaster.close()


app = web.Application()
app.add_routes(routes)
app.on_shutdown.append(end_streams)  # for a server that is stopped by no signal: runner.cleanup()

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=8000)
