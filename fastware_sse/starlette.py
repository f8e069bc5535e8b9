"""Starlette and FastAPI: a response of theirs that is a stream."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ._reply import Reply
from ._session import SEND_TIMEOUT, Initial
from .broadcaster import Broadcaster

__all__ = ["EventStreamResponse"]


class EventStreamResponse(Response):
    """The stream of `broadcaster` for one client. As a FastAPI route's `response_class` it documents text/event-stream.

    initial: (event, data) pairs for this client alone, sent before any broadcast.
    status_code, headers, background: as in any Response. The background task runs once the stream has ended. Headers
        and cookies may be set until the response is returned.
    send_timeout: seconds after which a client that has stopped reading is dropped, or None.

    Raises TypeError or ValueError that names the argument.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        broadcaster: Broadcaster,
        *,
        initial: Initial = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
        send_timeout: float | None = SEND_TIMEOUT,
    ) -> None:
        pairs = () if headers is None else headers.items()
        self._reply = Reply(broadcaster, initial=initial, headers=pairs, send_timeout=send_timeout)
        self.status_code = status_code
        self.background = background
        self.raw_headers = self._reply.headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._reply.status, self._reply.headers = self.status_code, self.raw_headers
        await self._reply(scope, receive, send)
        if self.background is not None:
            await self.background()


def respond(broadcaster: Broadcaster, request: Request, initial: Initial) -> EventStreamResponse:
    return EventStreamResponse(broadcaster, initial=initial)
