"""An ASGI application that serves a Broadcaster on any server: no framework needed.

    app = EventStream(broadcaster)

The request's own task watches receive(), which is the only sign that the client has left; one more sends. A send that
stays blocked is cancelled after `send_timeout`, since no ASGI server gives up on a client that has stopped reading.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable

from ._reply import Reply
from ._request import Refusal, Scope
from ._resume import Start
from ._session import SEND_TIMEOUT, Initial, MakeInitial, is_cancelled
from .broadcaster import Broadcaster

__all__ = ["EventStream", "Start"]

Verdict = bool | tuple[int, str] | None

_log = logging.getLogger("fastware_sse")


class EventStream(Reply):
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
        initial: Initial = None,
        headers: Iterable[tuple[str | bytes, str | bytes]] = (),
        authorize: Callable[[Scope], Verdict | Awaitable[Verdict]] | None = None,
        send_timeout: float | None = SEND_TIMEOUT,
    ) -> None:
        super().__init__(broadcaster, initial=initial, headers=headers, send_timeout=send_timeout)
        if authorize is not None and not callable(authorize):
            raise TypeError(f"authorize must be callable or None, not {type(authorize).__name__}")
        self._same_for_all = super()._take_initial()
        self._authorize = authorize

    async def refusal(self, scope: Scope) -> Refusal | None:
        if scope["method"] not in ("GET", "HEAD"):
            return 405, b"Method Not Allowed", [(b"allow", b"GET, HEAD")]
        if self._authorize is None:
            return None
        try:
            verdict = self._authorize(scope)
            if inspect.isawaitable(verdict):
                verdict = await verdict
            return _refusal(verdict)
        except (Exception, asyncio.CancelledError):
            if is_cancelled():
                raise
            _log.exception("authorize() of an EventStream failed")
            return 500, b"Internal Server Error", []

    def _take_initial(self) -> list[bytes] | MakeInitial:
        return self._same_for_all


def _refusal(verdict: object) -> Refusal | None:
    if verdict is None or verdict is True:
        return None
    if verdict is False:
        return 403, b"Forbidden", []
    if isinstance(verdict, tuple) and len(verdict) == 2:
        status, text = verdict
        if isinstance(status, int) and 400 <= status <= 599 and isinstance(text, str):
            return int(status), text.encode(), []
    raise TypeError(f"it must return a bool, None or (400..599, text), not {verdict!r}")
