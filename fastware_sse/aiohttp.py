"""The answer to a request of aiohttp, which is no ASGI server: a StreamResponse that writes the stream itself.

aiohttp tells a handler that its client has left only if it was started with handler_cancellation=True, and only a write
would notice. So while the stream lasts, a protocol of ours stands between the transport and aiohttp's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, cast

from aiohttp import HttpVersion11, web

from ._deadline import deadlines_of
from ._session import SEND_TIMEOUT
from ._stream import HEADERS, byte_stream

if TYPE_CHECKING:
    from ._session import Initial, Session
    from .broadcaster import Broadcaster

_FAREWELL = 1.0  # seconds for the end of the response


def respond(broadcaster: Broadcaster, request: web.BaseRequest, initial: Initial) -> web.StreamResponse:
    return EventStreamResponse(*byte_stream(broadcaster, _scope(request), initial, head=request.method == "HEAD"))


def _scope(request: web.BaseRequest) -> dict[str, Any]:
    """What an ASGI server would say of the request, as far as it matters to a stream."""
    return {
        "type": "http",
        "method": request.method,
        "path": request.path,
        "query_string": request.rel_url.raw_query_string.encode(),
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
    }


class EventStreamResponse(web.StreamResponse):
    """aiohttp prepares what a handler returns and then calls write_eof(), which is when the stream is sent."""

    def __init__(self, stream: AsyncGenerator[bytes, None], session: Session | None) -> None:
        super().__init__(headers=HEADERS)
        self._stream = stream
        self._session = session

    async def prepare(self, request: web.BaseRequest) -> Any:
        if request.version < HttpVersion11:
            self.force_close()  # the only end that a body without a length has there
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        request = self._req
        if request is not None and request.transport is not None:
            await self._write_stream(request.transport)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await super().write_eof(data)

    async def _write_stream(self, transport: asyncio.Transport) -> None:
        deadlines = deadlines_of(asyncio.get_running_loop(), SEND_TIMEOUT)
        connection = Connection(transport, self._session)
        try:
            async for body in self._stream:
                deadlines.begin(connection)
                try:
                    await self.write(body)
                finally:
                    deadlines.end(connection)
        except asyncio.CancelledError:
            pass  # in a write; else the stream has ended by itself
        finally:
            connection.leave()
            await self._stream.aclose()


class Connection(asyncio.Protocol):
    """Stands before aiohttp's protocol, and cancels the task that made it when the connection is lost."""

    def __init__(self, transport: asyncio.Transport, session: Session | None) -> None:
        self._transport = transport
        self._session = session
        self._theirs = cast(asyncio.Protocol, transport.get_protocol())
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        transport.set_protocol(self)

    def leave(self) -> None:
        """The stream has ended."""
        if self._task is not None:
            self._task = None  # connection_lost() may be on its way
            self._transport.set_protocol(self._theirs)

    def expire(self) -> None:
        """A write was blocked for too long."""
        if self._session is not None:
            self._session.note_stuck()
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._theirs.connection_lost(error)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self._theirs.data_received(data)

    def eof_received(self) -> bool | None:
        return self._theirs.eof_received()

    def pause_writing(self) -> None:
        self._theirs.pause_writing()

    def resume_writing(self) -> None:
        self._theirs.resume_writing()
