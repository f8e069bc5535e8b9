"""Server-sent events on any ASGI server, without a framework. Serve it with, for example:

uvicorn asgi_app:app

Listen with `curl -N http://127.0.0.1:8000/events`, send with `curl -d hello http://127.0.0.1:8000/send`.
"""

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream

broadcaster = Broadcaster(heartbeat_interval=30, retry=(1, 5))
broadcaster.register_event("message")
events = EventStream(broadcaster, initial=[("message", "welcome")])


async def app(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == "/send":
        text, more = b"", True
        while more:
            message = await receive()
            text, more = text + message.get("body", b""), message.get("more_body", False)
        broadcaster.broadcast("message", text.decode(errors="replace"))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
    else:
        await events(scope, receive, send)
