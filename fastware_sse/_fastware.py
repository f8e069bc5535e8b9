"""fastware's response to a stream, and what is known of its request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastware import StreamResponse

_HEADERS = {"Cache-Control": "no-cache", "Connection": "keep-alive", "X-Accel-Buffering": "no"}


def scope_of(request: object) -> Mapping[str, Any]:
    scope = getattr(request, "scope", None)
    return scope if isinstance(scope, dict) else {}


def stream_response(request: object, generator: AsyncGenerator[str, None]) -> StreamResponse:
    """Raises TypeError where fastware is not installed: `request` is then of a framework that nobody knows."""
    try:
        from fastware import StreamResponse
    except ImportError as error:
        raise TypeError(
            f"Broadcaster.stream() knows no framework whose request is a {type(request).__name__}, and fastware is not "
            "installed; whatever runs on ASGI can serve or mount a fastware_sse.asgi.EventStream instead"
        ) from error
    return StreamResponse(generator, content_type="text/event-stream", headers=dict(_HEADERS))
