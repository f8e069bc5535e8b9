"""The answer to one request as an ASGI callable: its head, the initial events, and then what is broadcast.

What frameworks take from a handler, and what an EventStream does with each request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ._options import checked_seconds
from ._request import Header, Receive, Refusal, Request, Scope, Send
from ._session import SEND_TIMEOUT, Initial, MakeInitial, Session
from ._stream import HEADERS, joined, merged
from .broadcaster import Broadcaster

_DEFAULTS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
_NOT_YOURS = {b"content-type", b"content-length"} | {
    # These speak of one connection; HTTP/2 forbids them.
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
}
_BRIEFEST = 0.001  # seconds of a send_timeout: timers are no finer
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")


class Reply:
    """A stream of `broadcaster` for whoever calls it, whatever the method; to HEAD its headers and an end.

    Raises TypeError or ValueError that names the argument.
    """

    status = 200

    def __init__(
        self,
        broadcaster: Broadcaster,
        *,
        initial: Initial = None,
        headers: Iterable[tuple[str | bytes, str | bytes]] = (),
        send_timeout: float | None = SEND_TIMEOUT,
    ) -> None:
        if not isinstance(broadcaster, Broadcaster):
            raise TypeError(f"broadcaster must be a Broadcaster, not {type(broadcaster).__name__}")
        broadcaster._refuse_own_generator()
        self.broadcaster = broadcaster
        self.headers = _all_headers(headers)
        self.send_timeout = checked_seconds("send_timeout", send_timeout, _BRIEFEST)
        self._initial: list[bytes] | MakeInitial | None
        self._initial = initial if callable(initial) else joined(broadcaster._initial_chunks(initial))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await Request(self, scope, receive, send).run()
        # Anything else, lifespan above all, is somebody else's business, and silence says so.

    async def refusal(self, scope: Scope) -> Refusal | None:
        """What is answered instead of a stream, or None."""
        return None

    async def first_bodies(self, session: Session) -> list[bytes]:
        """The beginning of a stream, in bodies of at most 64 KiB (a larger event alone); never empty."""
        return merged(await session.first(self._take_initial(), joined))

    def _take_initial(self) -> list[bytes] | MakeInitial:
        """Given away: they may be large, and a framework keeps its response for as long as the stream lives."""
        if self._initial is None:
            raise RuntimeError("a response with initial events is for one client")
        initial = self._initial
        if initial and not callable(initial):
            self._initial = None
        return initial


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
