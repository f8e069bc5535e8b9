"""Litestar: a handler whose return type is ASGIApp answers with an ASGI callable."""

from __future__ import annotations

from typing import Any

from ._reply import Reply
from .broadcaster import Broadcaster


def respond(broadcaster: Broadcaster, request: object, initial: list[tuple[str, Any]] | None) -> Reply:
    return Reply(broadcaster, initial=initial)
