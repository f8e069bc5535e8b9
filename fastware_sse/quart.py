"""The answer to a request of Quart: a Response whose body is a stream of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Request, Response

from ._stream import HEADERS, byte_stream

if TYPE_CHECKING:
    from ._session import Initial
    from .broadcaster import Broadcaster


def respond(broadcaster: Broadcaster, request: Request, initial: Initial) -> Response:
    content, _ = byte_stream(broadcaster, request.scope, initial, head=request.method == "HEAD")
    response = Response(content, headers=HEADERS)
    response.timeout = None  # else Quart cuts it after RESPONSE_TIMEOUT, 60 s
    return response
