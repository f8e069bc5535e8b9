"""One request to an EventStream: from its first look at the method to the final body."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from . import _exit
from ._stream import running_loop

if TYPE_CHECKING:
    from .asgi import EventStream

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

BODY_BYTES = 65536  # in one body, and sent without the loop having had a turn
_FAREWELL = 1.0  # seconds for the final, empty body

_log = logging.getLogger("fastware_sse")


class Request:
    """One HTTP request. Its own task sends; the watcher may cancel that task, and so may a deadline."""

    __slots__ = ("_app", "_left", "_receive", "_scope", "_send", "_stuck", "_task")

    def __init__(self, app: EventStream, scope: Scope, receive: Receive, send: Send) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._task: asyncio.Task[Any] | None = None
        self._left = False  # the client has gone: nothing more is sent
        self._stuck = False  # a send was blocked for too long

    async def run(self) -> None:
        method = self._scope["method"]
        if method == "GET":
            await self._get()
        elif method == "HEAD":  # never watched: some servers report the client gone at once
            refusal = await self._app.refusal(self._scope)
            if refusal is None:
                await self._start()
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await self._answer(*refusal)
        else:
            await self._answer(405, "Method Not Allowed", [(b"allow", b"GET, HEAD")])

    async def _get(self) -> None:
        loop = running_loop()
        self._task = asyncio.current_task()
        watcher = loop.create_task(self._watch())
        try:
            refusal = await self._app.refusal(self._scope)
            if refusal is None:
                await self._stream(loop)
            else:
                await self._answer(*refusal)
        except asyncio.CancelledError:
            if not self._left:
                raise
            self._uncancel()
        finally:
            watcher.cancel()

    async def _watch(self) -> None:
        """The one reader of receive(): takes what is left of the request's body, then waits for the end."""
        try:
            while (await self._receive())["type"] != "http.disconnect":
                pass
        except Exception:
            _log.debug("receive() failed; the client counts as gone", exc_info=True)
        self._left = True
        self._cancel()

    def expire(self) -> None:
        """A send was blocked for `send_timeout` seconds."""
        self._stuck = True
        _log.debug("dropped an SSE client that has stopped reading")
        self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _uncancel(self) -> None:
        if self._task is not None:
            self._task.uncancel()

    async def _stream(self, loop: asyncio.AbstractEventLoop) -> None:
        broadcaster, send, deadlines = self._app.broadcaster, self._send, self._app.deadlines(loop)
        subscription = broadcaster._subscribe()
        subscription.coalesce = True
        subscription.join(loop)
        watch = None
        started = False
        try:
            watch = _exit.enter(broadcaster, loop, subscription)
            try:
                bodies = await self._app.first_bodies(self._scope)
            except Exception:
                _log.exception("the initial events of an EventStream failed")
                await self._answer(500, "Internal Server Error")
                return
            deadlines.begin(self)
            await self._start()
            started = True
            for body in bodies:
                deadlines.begin(self)
                await send({"type": "http.response.body", "body": body, "more_body": True})
            deadlines.end(self)
            del bodies
            sent = 0
            while True:
                for chunk in subscription:
                    body = chunk.encode()
                    deadlines.begin(self)
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    deadlines.end(self)
                    sent += len(body)
                    if sent >= BODY_BYTES:  # the send may never have waited
                        sent = 0
                        await asyncio.sleep(0)
                waiter = subscription.park()
                if waiter is None:
                    break
                await waiter
        except asyncio.CancelledError:
            # By the server, the watcher or a deadline. Returning is what servers take best: they log what is raised.
            if self._left or self._stuck:
                self._uncancel()
        except OSError:
            _log.debug("send() failed; the client counts as gone", exc_info=True)
            self._left = True
        except Exception:
            _log.exception("send() failed; the stream ends")
            self._left = True
        finally:
            deadlines.end(self)
            subscription.close()
            if watch is not None:
                watch.leave(broadcaster)
        if started and not self._left:
            await self._farewell()

    async def _start(self) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": self._app.headers})

    async def _farewell(self) -> None:
        """The final body, so that the client sees a whole response; bounded, since a stuck client blocks it too."""
        try:
            async with asyncio.timeout(_FAREWELL):
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, asyncio.CancelledError):
            pass
        except Exception:
            _log.debug("the end of a stream could not be sent", exc_info=True)

    async def _answer(self, status: int, text: str, headers: Iterable[Header] = ()) -> None:
        body = text.encode()
        length = str(len(body)).encode()
        plain = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length), *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": plain})
        body = b"" if self._scope["method"] == "HEAD" else body
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
