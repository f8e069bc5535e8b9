"""A warning where several processes serve: an event reaches the clients of the process that broadcasts it, silently."""

from __future__ import annotations

import logging
import os
from types import FrameType

from ._limits import frames

_log = logging.getLogger("fastware_sse")

_has_looked = False


def begin() -> None:
    """A stream has begun; to be called by its task. Looks once in a process, for signs that leave no doubt."""
    global _has_looked
    if _has_looked:
        return
    _has_looked = True
    try:
        sign = _sign_of_environment() or next(filter(None, map(_sign_of_server, frames())), None)
    except Exception:  # not our code, so it may be anything
        _log.debug("the number of workers could not be found", exc_info=True)
        return
    if sign is not None:
        _log.warning(
            "%s: each worker has clients and events of its own, and a broadcast reaches no others; give the "
            "Broadcaster a backplane=..., or run one worker",
            sign,
        )


def _sign_of_environment() -> str | None:
    workers = os.environ.get("WEB_CONCURRENCY", "")
    return f"WEB_CONCURRENCY is {workers}" if workers.isdecimal() and int(workers) > 1 else None


def _sign_of_server(frame: FrameType) -> str | None:
    """What the function that `frame` runs says, if it is a server's."""
    module, names = frame.f_globals.get("__name__", ""), frame.f_code.co_varnames
    if module == "gunicorn.arbiter" and "self" in names:
        workers = frame.f_locals["self"].num_workers
        return f"gunicorn runs {workers} workers" if workers > 1 else None
    if module == "uvicorn.server" and "self" in names:
        workers = frame.f_locals["self"].config.workers
        return f"uvicorn runs {workers} workers" if workers > 1 else None
    if module.startswith("granian.server.") and "worker_id" in names:
        worker = frame.f_locals["worker_id"]  # from 1
        return f"this is granian's worker {worker}" if worker > 1 else None
    return None
