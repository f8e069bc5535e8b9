"""An ASGI application that serves a Broadcaster on any server: no framework needed.

    app = EventStream(broadcaster)

The request's own task sends; one more watches receive(), which is the only sign that the client has left. A send that
stays blocked is cancelled after `send_timeout`, since no ASGI server gives up on a client that has stopped reading.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import re
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ._core import Chunk
from ._deadline import Deadlines
from ._request import BODY_BYTES, Header, Receive, Request, Scope, Send
from .broadcaster import Broadcaster

__all__ = ["EventStream", "Start"]

Initial = list[tuple[str, Any]]
Verdict = bool | tuple[int, str] | None

_DEFAULTS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_NOT_YOURS = {b"content-type", b"content-length"} | {
    # These speak of one connection; HTTP/2 forbids them.
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
}
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")

_log = logging.getLogger("fastware_sse")


class Start:
    """What a callable `initial` is told about the stream that begins: the ASGI scope of its request."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        self.scope = scope


class EventStream:
    """A plain ASGI application: every GET to it is a client of `broadcaster`, whatever the path.

    initial: (event, data) pairs that each client gets first, or a callable (sync or async) that returns them. It is
        called with a Start once the client is registered, so no event falls between the two.
    headers: pairs of str or bytes, added to the response's headers.
    authorize: a callable (sync or async) that gets the scope: None or True admits, False is answered with 403, a pair
        (status, text) with that.
    send_timeout: seconds after which a client that has stopped reading is dropped, or None.

    Raises TypeError or ValueError that names the argument.
    """

    def __init__(
        self,
        broadcaster: Broadcaster,
        *,
        initial: Initial | Callable[[Start], Initial | Awaitable[Initial]] | None = None,
        headers: Iterable[tuple[str | bytes, str | bytes]] = (),
        authorize: Callable[[Scope], Verdict | Awaitable[Verdict]] | None = None,
        send_timeout: float | None = 30.0,
    ) -> None:
        if not isinstance(broadcaster, Broadcaster):
            raise TypeError(f"broadcaster must be a Broadcaster, not {type(broadcaster).__name__}")
        if authorize is not None and not callable(authorize):
            raise TypeError(f"authorize must be callable or None, not {type(authorize).__name__}")
        self.broadcaster = broadcaster
        self._make_initial = initial if callable(initial) else None
        self._initial = [] if callable(initial) else _joined(broadcaster._initial_chunks(initial))
        self._authorize = authorize
        self.headers = _all_headers(headers)
        self._send_timeout = _checked_timeout(send_timeout)
        self._deadlines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Deadlines] = weakref.WeakKeyDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await Request(self, scope, receive, send).run()
        # Anything else, lifespan above all, is somebody else's business, and silence says so.

    def deadlines(self, loop: asyncio.AbstractEventLoop) -> Deadlines:
        """Those of the sends on `loop`."""
        found = self._deadlines.get(loop)
        if found is None:
            found = self._deadlines[loop] = Deadlines(self._send_timeout)
        return found

    async def refusal(self, scope: Scope) -> tuple[int, bytes] | None:
        """What authorize() makes of the request: None to admit it."""
        if self._authorize is None:
            return None
        try:
            verdict = self._authorize(scope)
            if inspect.isawaitable(verdict):
                verdict = await verdict
            return _refusal(verdict)
        except Exception:
            _log.exception("authorize() of an EventStream failed")
            return 500, b"Internal Server Error"

    async def first_bodies(self, scope: Scope) -> list[bytes]:
        """The beginning of a stream, in bodies of at most 64 KiB (a larger event alone): never empty, since some
        servers hold the headers back until there is a body."""
        bodies = self._initial
        if self._make_initial is not None:
            made = self._make_initial(Start(scope))
            if inspect.isawaitable(made):
                made = await made
            bodies = _joined(self.broadcaster._initial_chunks(made))
        retry = _joined(self.broadcaster._retry_chunks())
        if retry and bodies and len(retry[0]) + len(bodies[0]) <= BODY_BYTES:
            return [retry[0] + bodies[0], *bodies[1:]]
        return retry + bodies or [b":\n\n"]


def _refusal(verdict: object) -> tuple[int, bytes] | None:
    if verdict is None or verdict is True:
        return None
    if verdict is False:
        return 403, b"Forbidden"
    if isinstance(verdict, tuple) and len(verdict) == 2:
        status, text = verdict
        if isinstance(status, int) and 400 <= status <= 599 and isinstance(text, str):
            return int(status), text.encode()
    raise TypeError(f"it must return a bool, None or (400..599, text), not {verdict!r}")


def _joined(chunks: Iterable[Chunk]) -> list[bytes]:
    """The text of the chunks in bodies of at most 64 KiB, a larger chunk alone."""
    bodies: list[list[bytes]] = []
    room = -1
    for part in filter(None, (chunk.encode() for chunk in chunks)):
        room -= len(part)
        if room < 0:
            bodies.append([])
            room = BODY_BYTES - len(part)
        bodies[-1].append(part)
    return [b"".join(parts) for parts in bodies]


def _checked_timeout(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"send_timeout must be a number of seconds or None, not {type(seconds).__name__}")
    try:
        number = float(seconds)
    except OverflowError:
        number = math.inf
    if not 0 < number < math.inf:
        raise ValueError("send_timeout must be None or a finite number of seconds above 0")
    return number


def _all_headers(headers: Iterable[tuple[str | bytes, str | bytes]]) -> list[Header]:
    if isinstance(headers, (str, bytes)) or not isinstance(headers, Iterable):
        raise TypeError(f"headers must be pairs (name, value), not {type(headers).__name__}")
    theirs = []
    for pair in headers:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"headers must be pairs (name, value), not {pair!r}")
        name, value = (_header_bytes(part) for part in pair)
        name = name.lower()
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"headers must not contain the name {name!r}: it is not a token (RFC 9110, 5.6.2)")
        if name in _NOT_YOURS:
            raise ValueError(f"headers must not contain {name.decode()!r}: the stream or the server sets it")
        theirs.append((name, value))
    replaced = {name for name, _ in theirs}
    return [pair for pair in _DEFAULTS if pair[0] not in replaced] + theirs


def _header_bytes(part: object) -> bytes:
    if isinstance(part, str):
        try:
            part = part.encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError(f"headers must be Latin-1, which has no {part!r}") from None
    if not isinstance(part, bytes):
        raise TypeError(f"headers must be str or bytes, not {type(part).__name__}")
    if any(byte in part for byte in b"\r\n\0"):
        raise ValueError(f"headers must not contain CR, LF or NUL: {part!r}")
    return part
