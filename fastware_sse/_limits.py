"""A warning before a server stops answering: as many clients as the process was started for, nearly.

A server at its limit says nothing, and the next client waits for ever. It does not tell an application what the limit
is either, but holds it in a variable of a function that is still running when a stream begins. Where that cannot be
found, as on a server of another version, there is no warning.
"""

from __future__ import annotations

import asyncio
import logging
import math
import resource
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple

from . import _core

_NEAR = 0.9  # of the limit

_log = logging.getLogger("fastware_sse")

_spare: float = 0  # streams that may begin before it is worth counting; infinite once there is nothing to warn of


class Limit(NamedTuple):
    connections: int
    consequence: str


def begin() -> None:
    """A stream has begun; to be called by its task. Most calls do nothing but count down."""
    global _spare
    if _spare:
        _spare -= 1
        return
    limit = _lowest()
    clients = sum(each.stats()["connected"] for each in _core._broadcasters())
    if limit is None:
        _spare = math.inf
    elif clients < limit.connections * _NEAR:
        _spare = math.ceil(limit.connections * _NEAR) - clients - 1
    else:
        _spare = math.inf
        _log.warning(
            "%d SSE clients, near the limit of %d connections (clients of HTTP/1.1 have one each): %s", clients, *limit
        )


def _lowest() -> Limit | None:
    limits = []
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY:
        limits.append(Limit(files, "the process may not open more files (ulimit -n)"))
    try:
        limits.extend(filter(None, map(_of_server, frames())))
    except Exception:  # not our code, so it may be anything
        _log.debug("the server's limit of connections could not be found", exc_info=True)
    return min(limits, default=None)


def frames() -> Iterator[FrameType]:
    """What runs now: the functions that have called us, the one that runs the event loop among them, and the tasks."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
    for task in asyncio.all_tasks():
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is not None:
            yield frame


def _of_server(frame: FrameType) -> Limit | None:
    """The limit of the server whose function `frame` is, if it is one that has a limit."""
    module, names = frame.f_globals.get("__name__", ""), frame.f_code.co_varnames
    if module.startswith("granian.server.") and "backpressure" in names:
        number, consequence = frame.f_locals["backpressure"], "granian answers no more of them (--backpressure)"
    elif module == "uvicorn.server" and "self" in names:
        number = frame.f_locals["self"].config.limit_concurrency
        consequence = "uvicorn answers more of them with 503 (--limit-concurrency)"
    else:
        return None
    return Limit(number, consequence) if isinstance(number, int) else None
