"""The app of EXAMPLE, a module of examples/, and /control: POST broadcasts so many numbers, and gets stats()."""

import importlib
import json
import os

example = importlib.import_module(os.environ["EXAMPLE"])
broadcaster = example.broadcaster
event = min(broadcaster.event_types)
broadcast = 0


async def app(scope, receive, send):
    global broadcast
    if scope["type"] != "http" or scope["path"] != "/control":
        await example.app(scope, receive, send)
        return
    message = await receive()
    for _ in range(json.loads(message["body"] or "0")):
        broadcaster.broadcast(event, str(broadcast))
        broadcast += 1
    encoded = json.dumps(broadcaster.stats()).encode()
    headers = [(b"content-length", str(len(encoded)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": encoded})
