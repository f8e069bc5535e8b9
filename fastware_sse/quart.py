"""The answer to a request of Quart: a Response whose body is a stream of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Request, Response

from ._stream import HEADERS, byte_stream

if TYPE_CHECKING:
    from .broadcaster import Broadcaster


def respond(broadcaster: Broadcaster, request: Request, initial: list[tuple[str, Any]] | None) -> Response:
    response = Response(byte_stream(broadcaster, initial, head=request.method == "HEAD"), headers=HEADERS)
    response.timeout = None  # else Quart cuts it after RESPONSE_TIMEOUT, 60 s
    return response
