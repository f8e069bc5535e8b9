"""The answer to a request of Django under ASGI: a StreamingHttpResponse whose content is a stream of bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from ._stream import HEADERS, byte_stream

if TYPE_CHECKING:
    from ._session import Initial
    from .broadcaster import Broadcaster


class EventStreamResponse(StreamingHttpResponse):
    """Hands its content over as it is.

    Django would wrap it in generators that are not closed when the one in front of them is, so that a client would be
    registered for as long as the garbage collector likes.
    """

    def __aiter__(self) -> AsyncIterator[bytes]:
        content: AsyncIterator[bytes] = self._iterator  # or what middleware has put in its place
        return content


def respond(broadcaster: Broadcaster, request: HttpRequest, initial: Initial) -> StreamingHttpResponse:
    if not isinstance(request, ASGIRequest):
        raise TypeError(
            "Django can stream events under ASGI alone: serve get_asgi_application(), not get_wsgi_application()"
        )
    content, _ = byte_stream(broadcaster, request.scope, initial, head=request.method == "HEAD")
    return EventStreamResponse(content, headers=HEADERS)  # type: ignore[no-untyped-call]
