"""Litestar: a handler whose return type is ASGIApp answers with an ASGI callable."""

from __future__ import annotations

from ._reply import Reply
from ._session import Initial
from .broadcaster import Broadcaster


def respond(broadcaster: Broadcaster, request: object, initial: Initial) -> Reply:
    return Reply(broadcaster, initial=initial)
