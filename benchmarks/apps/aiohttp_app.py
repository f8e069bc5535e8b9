"""A Broadcaster in aiohttp, which is its own server: python aiohttp_app.py PORT. On uvloop, as uvicorn is."""

import sys

import uvloop
from aiohttp import web
from control import Actions

from fastware_sse import Broadcaster

broadcaster = Broadcaster()
broadcaster.register_event("update")
actions = Actions(lambda data: broadcaster.broadcast("update", data), lambda: broadcaster.client_count)


async def events(request):
    return await broadcaster.stream(request)


async def act(request):
    return web.Response(body=await actions.answer(request.path, request.query_string))


app = web.Application()
app.router.add_get("/events", events)
for path in actions.paths:
    app.router.add_route("*", path, act)

if __name__ == "__main__":
    web.run_app(
        app, host="127.0.0.1", port=int(sys.argv[1]), backlog=4096, access_log=None, loop=uvloop.new_event_loop()
    )
