"""With which event a client comes back, and what is told of it to those who choose what it gets first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

if TYPE_CHECKING:
    from .broadcaster import Broadcaster

_HEADER = b"last-event-id"
_FIELD = "last_event_id"


def last_event_id(scope: Mapping[str, Any]) -> bytes | None:
    """The id in the header Last-Event-ID (WHATWG HTML, 9.2.4), else in the query; as it came, so it may be anything.

    A first connection cannot set the header, and EventSource repeats the query when it comes back: so the header wins.
    One that was sent more than once is joined (RFC 9110, 5.3), which is no id.
    """
    values = [value for name, value in scope.get("headers", ()) if name.lower() == _HEADER]
    query = scope.get("query_string", b"")
    if not any(values) and _FIELD.encode() in query:
        found = parse_qs(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
        values = [value.encode("latin-1") for value in found.get(_FIELD, ())]
    return b", ".join(values) or None


class Start:
    """What a callable `initial` is told about the stream that begins.

    scope: the ASGI scope of its request.
    requested: the id of the last event that the client had, or None if it came with none.
    complete: whether the stream goes on right behind that event, so that the client misses nothing.
    reason: why it does not, for a client that came with an id: evicted, epoch, future or invalid; else None.
    """

    __slots__ = ("complete", "reason", "requested", "scope")

    def __init__(
        self,
        scope: Mapping[str, Any],
        *,
        requested: str | None = None,
        complete: bool = False,
        reason: str | None = None,
    ) -> None:
        self.scope = scope
        self.requested = requested
        self.complete = complete
        self.reason = reason


def gap_of(broadcaster: Broadcaster, reason: str, last_event_id: str | None = None) -> tuple[str, str] | None:
    """The event that tells a client that it has missed some, as (event, data); None where it is not to be told."""
    event = broadcaster._gap_event
    if event is None:
        return None
    return event, msgspec.json.encode({"reason": reason, "last_event_id": last_event_id}).decode()
