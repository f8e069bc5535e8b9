"""One request that is answered with a stream: from its first look at the method to the final body."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, cast

from ._deadline import deadlines_of
from ._session import Session, is_cancelled
from ._stream import BODY_BYTES, joined, running_loop

if TYPE_CHECKING:
    from ._reply import Reply

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
Refusal = tuple[int, bytes, list[Header]]  # a status, a text and headers to add

_FAREWELL = 1.0  # seconds for the final, empty body
_LINGER = 8  # turns of the loop

_log = logging.getLogger("fastware_sse")


class Request:
    """One HTTP request. Its own task watches for the client to leave; another one sends, since resuming a task costs as
    much as it has frames, and the request's own has those of all middleware. A deadline ends a send that is blocked."""

    __slots__ = (
        "_deadlines",
        "_expired",
        "_left",
        "_loop",
        "_over",
        "_receive",
        "_reply",
        "_scope",
        "_send",
        "_sender",
        "_started",
        "_unyielded",
        "_watcher",
    )

    def __init__(self, reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
        self._reply = reply
        self._scope = scope
        self._receive = receive
        self._send = send
        self._loop = running_loop()
        self._sender: asyncio.Task[None]
        self._watcher: asyncio.Task[Any] | None = None  # inside receive()
        self._deadlines = deadlines_of(self._loop, reply.send_timeout)
        self._over = False  # the sender has nothing to do but to end
        self._left = False  # the client has gone, or cannot be reached: nothing more is sent
        self._expired = False
        self._started = False
        self._unyielded = 0  # bytes sent since the loop had a turn for certain

    async def run(self) -> None:
        """Answer the request. Raises nothing but the cancellation of a request that has no answer yet: servers log what
        is raised, and take a return best."""
        self._sender = self._loop.create_task(self._respond())
        # HEAD is over at once, and some servers say before that that the client has gone.
        watching = self._scope["method"] != "HEAD"
        cancelled = False
        while not self._sender.done():
            try:
                if not watching:
                    await asyncio.wait({self._sender})
                elif await self._client_leaves():
                    watching = False
                    self._left = True
                    self._end()
            except asyncio.CancelledError:
                watching = False
                cancelled = True
                self._end()
        if cancelled and self._sender.cancelled():
            raise asyncio.CancelledError

    async def _client_leaves(self) -> bool:
        """Wait for that; False: the response has ended before. The one reader of receive(), which also takes what is
        left of the request's body."""
        task = self._watcher = cast("asyncio.Task[Any]", asyncio.current_task())
        self._sender.add_done_callback(self._wake)
        try:
            while (await self._receive())["type"] != "http.disconnect" and self._watcher is not None:
                await asyncio.sleep(0)  # even if receive() never waits, others have their turn
        except asyncio.CancelledError:
            if self._watcher is not None:
                raise
        except Exception:
            _log.debug("receive() failed; the client counts as gone", exc_info=True)
        finally:
            woken = self._watcher is None
            self._watcher = None
            if woken:
                task.uncancel()
        return not woken

    def _wake(self, sender: asyncio.Task[None]) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    def expire(self) -> None:
        """A send was blocked for `send_timeout` seconds."""
        self._expired = True
        self._end()

    def _end(self) -> None:
        self._over = True
        self._sender.cancel()

    async def _respond(self) -> None:
        try:
            refusal = await self._refusal()
            if refusal is not None:
                await self._answer(*refusal)
            elif self._scope["method"] == "HEAD":
                await self._start()
                await self._deliver({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await self._stream()
        except OSError:
            _log.debug("send() failed; the client counts as gone", exc_info=True)
        except Exception:
            _log.exception("a stream could not be sent")

    async def _refusal(self) -> Refusal | None:
        if self._scope["method"] != "HEAD":
            return await self._reply.refusal(self._scope)
        try:  # nobody watches for the client of a HEAD to leave
            async with asyncio.timeout(self._reply.send_timeout):
                return await self._reply.refusal(self._scope)
        except TimeoutError:
            return 503, b"Service Unavailable", []

    async def _stream(self) -> None:
        session = Session(self._reply.broadcaster, self._scope)
        subscription = session.subscription
        subscription.coalesce = True
        try:
            session.begin(self._loop, self._reply.send_timeout)
            while chunks := await session.opening():
                await self._bodies(session, joined(chunks))
            try:
                bodies = await self._reply.first_bodies(session)
            except (Exception, asyncio.CancelledError):
                if is_cancelled():
                    raise
                _log.exception("the initial events of a stream failed")
                if self._started:  # too late to say so
                    raise asyncio.CancelledError from None
                await self._answer(500, b"Internal Server Error", [])
                return
            await self._bodies(session, bodies)
            del bodies  # may be large, and the stream may live for days
            while chunks := await session.replay():
                await self._bodies(session, joined(chunks))
            del chunks
            while True:
                for chunk in subscription:
                    await self._body(session, chunk.encode())
                waiter = None if self._over else subscription.park()  # see _deliver()
                if waiter is None:
                    break
                if session.offer is not None:
                    session.offer.parked()
                await waiter
        except asyncio.CancelledError:
            if not self._started:
                raise
        except GeneratorExit:  # the collector has found the task, anywhere
            session.is_forgotten = True
            raise
        finally:
            stops = session.is_late
            if self._expired:
                session.note_stuck()
            session.end()
        if not self._left:
            await self._farewell(stops)

    async def _start(self) -> None:
        if self._started:
            return
        # A list of its own: middleware may add to it.
        reply = self._reply
        await self._deliver({"type": "http.response.start", "status": reply.status, "headers": list(reply.headers)})
        self._started = True

    async def _bodies(self, session: Session, bodies: list[bytes]) -> None:
        await self._start()
        for body in bodies:
            await self._body(session, body)

    async def _body(self, session: Session, body: bytes) -> None:
        if self._unyielded + len(body) > BODY_BYTES:  # no send need ever have waited
            self._unyielded = 0
            await (session.subscription.rest() or asyncio.sleep(0))
        self._unyielded += len(body)
        session.expect(body)
        await self._deliver({"type": "http.response.body", "body": body, "more_body": True})

    async def _deliver(self, message: Message) -> None:
        if self._over:
            raise asyncio.CancelledError  # again: somebody has swallowed it
        self._deadlines.begin(self)
        try:
            await self._send(message)
        finally:
            self._deadlines.end(self)

    async def _farewell(self, stops: bool) -> None:
        """The final body, so that the client sees a whole response; bounded, since a stuck client blocks it too.

        A server that stops may close the connection with the body still in a buffer (daphne does), but not under a task
        that is not done.
        """
        try:
            async with asyncio.timeout(_FAREWELL):
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                for _ in range(_LINGER if stops else 0):
                    await asyncio.sleep(0)
        except (TimeoutError, asyncio.CancelledError):
            pass
        except Exception:
            _log.debug("the end of a stream could not be sent", exc_info=True)

    async def _answer(self, status: int, text: bytes, headers: list[Header]) -> None:
        """A whole response that is not a stream."""
        length = str(len(text)).encode()
        plain = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length), *headers]
        await self._deliver({"type": "http.response.start", "status": status, "headers": plain})
        body = b"" if self._scope["method"] == "HEAD" else text
        await self._deliver({"type": "http.response.body", "body": body, "more_body": False})
