"""The answer to a request of BlackSheep: none, since its own responses never learn that the client has left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never

if TYPE_CHECKING:
    from .broadcaster import Broadcaster


def respond(broadcaster: Broadcaster, request: object, initial: list[tuple[str, Any]] | None) -> Never:
    raise TypeError(
        "BlackSheep never tells a handler that its client has left, so stream() would keep every client; mount the "
        'responder of fastware_sse.asgi instead: app.mount("/events", EventStream(broadcaster))'
    )
