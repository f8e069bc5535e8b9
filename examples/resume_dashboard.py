"""Live prices on a page that may lose its connection: it goes on where it stopped, or is told that it cannot.

uvicorn resume_dashboard:app

Open http://127.0.0.1:8000/. Cut the connection there, go offline, or restart the server.
"""

import asyncio
import random
from pathlib import Path

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream

PAGE = Path(__file__).with_suffix(".html").read_bytes()
PERIOD = 0.1  # seconds between two updates

market = {"number": 0, "prices": {"Tea": 310.0, "Coffee": 540.0, "Cocoa": 820.0, "Sugar": 120.0}}
streams = set()


async def trade():
    """Change one price after the other. Updates are numbered, so that the page can tell if one is missing."""
    while True:
        symbol, price = random.choice(list(market["prices"].items()))
        market["number"] += 1
        market["prices"][symbol] = price = round(price * random.uniform(0.99, 1.01), 2)
        broadcaster.broadcast("price", {"number": market["number"], "symbol": symbol, "price": price})
        await asyncio.sleep(PERIOD)


def snapshot(start):
    """All prices for a page that is new, or has missed something. No update falls between this and the stream."""
    return [] if start.complete else [("snapshot", market)]


broadcaster = Broadcaster(history=200, retry=1, heartbeat_interval=15)  # 20 seconds of updates
broadcaster.register_event("price")
events = EventStream(broadcaster, initial=snapshot)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"] == "/":
        await answer(send, PAGE)
    elif scope["path"] == "/cut":
        for stream in streams:
            stream.cancel()
        await answer(send, b"")
    else:
        stream = asyncio.current_task()
        streams.add(stream)
        try:
            await events(scope, receive, send)
        finally:
            streams.discard(stream)


async def lifespan(receive, send):
    await receive()
    trading = asyncio.create_task(trade())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    trading.cancel()
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send, body):
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
