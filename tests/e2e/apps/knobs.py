"""An application whose Broadcaster the test configures, and that can be asked for bursts."""

import json
import os

from fastware import Router, create_app, serve

from fastware_sse import Broadcaster, sse_route

broadcaster = Broadcaster(**json.loads(os.environ["BROADCASTER"]))
broadcaster.register_event("message")

router = Router()
router.add_route("GET", "/events", sse_route(broadcaster))


@router.get("/stream")
async def stream(request):
    return await broadcaster.stream(request)


@router.post("/burst")
async def burst(request):
    for text in request.json["texts"]:
        broadcaster.broadcast("message", text)
    return {}


@router.get("/status")
async def status(request):
    return {"clients": broadcaster.client_count}


app = create_app(router)

if __name__ == "__main__":
    serve(app, foreground=True, host="127.0.0.1", port=8000)
