"""What the hooks are told about a client."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._session import Session

GAPS = ("evicted", "epoch", "future", "invalid")  # of how a client may begin, those with which it has missed something

_count = itertools.count(1)


class Client:
    """What on_connect and on_disconnect are told about a client. To be read only.

    id: its number in this process, from 1.
    connected_at: seconds since 1970.
    events, bytes: broadcast events that were handed on for it until now, and their text.
    resume: None for a client that came with no id; "complete" for one that missed nothing; else the reason.
    reason: None while it is connected, then why its stream has ended: left (by the client, or an error on the way),
        pruned, history (it passed the client while that caught up), closed, shutdown (by a signal, or the server's stop
        under fastware_sse.uvicorn), max_age or send_timeout.
    """

    __slots__ = ("_connected_at", "_id", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._id = next(_count)
        self._connected_at = time.time()

    @property
    def id(self) -> int:
        return self._id

    @property
    def connected_at(self) -> float:
        return self._connected_at

    @property
    def events(self) -> int:
        return self._session.subscription.events

    @property
    def bytes(self) -> int:
        return self._session.subscription.bytes

    @property
    def resume(self) -> str | None:
        how = self._session.how
        return "complete" if how == "resumed" else how if how in GAPS else None

    @property
    def reason(self) -> str | None:
        return self._session.reason

    def __repr__(self) -> str:
        return f"<Client {self.id}, {self.reason or 'connected'}, {self.events} events, {self.bytes} bytes>"
