"""sse_route: a handler that serves a Broadcaster."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ._stream import is_event_stream

if TYPE_CHECKING:
    from .broadcaster import Broadcaster


def sse_route(broadcaster: Broadcaster) -> Callable[[Any], Awaitable[Any]]:
    """Return an async handler for `router.add_route("GET", "/events", handler)`, or a route of Starlette or FastAPI.

    Events that wait together leave as one chunk of at most 64 KiB, a larger one alone and whole.
    Raises TypeError if `broadcaster` has no stream().
    """
    if not callable(getattr(broadcaster, "stream", None)):
        raise TypeError(f"broadcaster must be a Broadcaster, not {type(broadcaster).__name__}")

    async def handler(request: Any) -> Any:
        response = await broadcaster.stream(request)
        subscription = getattr(response, "_subscription", None)
        if subscription is not None and is_event_stream(response.generator):
            subscription.coalesce = True
        return response

    # FastAPI evaluates this when the route is added; without it, the request would be a query parameter.
    handler.__annotations__ = {"request": "_request_type()"}
    return handler


def _request_type() -> Any:
    starlette = sys.modules.get("starlette.requests")
    return Any if starlette is None else starlette.Request
