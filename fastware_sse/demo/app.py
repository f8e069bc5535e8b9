"""The documentation's complete example, and what the page needs besides: its files, the load and the cut."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastware import BytesResponse, Request, Router, StreamResponse, create_app

from fastware_sse import Broadcaster, sse_route
from fastware_sse.demo.audience import Audience

# ---- the documentation's complete example; retry is there to make the cut button quick ----

broadcaster = Broadcaster(heartbeat_interval=30, retry=1)
broadcaster.register_event("message")
broadcaster.register_event("status")

router = Router()
stream = sse_route(broadcaster)


@router.post("/send")
async def send_message(request: Request) -> dict[str, bool]:
    data: Any = request.json
    broadcaster.broadcast("message", {"text": data["text"]})
    return {"sent": True}


@router.get("/status")
async def get_status(request: Request) -> dict[str, int]:
    broadcaster.broadcast("status", {"clients": broadcaster.client_count})
    return {"clients": broadcaster.client_count}


# ---- the page ----

audience = Audience(broadcaster)


@router.get("/events")
async def events(request: Request) -> StreamResponse:
    """The documented route. A page says who it is, so that it can ask to be cut off."""
    return audience.watch(await stream(request), request.query("page"))


class Load(msgspec.Struct):
    clients: Annotated[int, msgspec.Meta(ge=0, le=500)]
    rate: Annotated[int, msgspec.Meta(ge=0, le=100)]


@router.post("/load")
async def set_load(request: Request) -> Load:
    load: Load = request.json_as(Load)
    audience.set_load(load.clients, load.rate)
    return load


class Cut(msgspec.Struct):
    page: str


@router.post("/cut")
async def cut(request: Request) -> dict[str, bool]:
    return {"cut": audience.cut(request.json_as(Cut).page)}


_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def _serve_file(path: str, name: str, content_type: str) -> None:
    data = Path(__file__).with_name(name).read_bytes()

    async def handler(request: Request) -> BytesResponse:
        return BytesResponse(data, content_type, headers=_HEADERS)

    router.add_route("GET", path, handler)


_serve_file("/", "page.html", "text/html; charset=utf-8")
_serve_file("/page.css", "page.css", "text/css; charset=utf-8")
_serve_file("/page.js", "page.js", "text/javascript; charset=utf-8")
_serve_file("/plot.js", "plot.js", "text/javascript; charset=utf-8")
_serve_file("/icon.svg", "icon.svg", "image/svg+xml")


@contextlib.asynccontextmanager
async def _lifespan(app: object) -> AsyncIterator[None]:
    yield
    await audience.stop()


app = create_app(router, lifespan=_lifespan)
