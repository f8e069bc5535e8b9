"""Records that might be the same for every client: one a minute in a process."""

from __future__ import annotations

import time

_EVERY = 60.0  # seconds

_due: dict[str, float] = {}  # when each may be logged again


def is_due(what: str) -> bool:
    """Whether the record that the caller knows as `what` may be logged now; not again for a minute then."""
    now = time.monotonic()
    if now < _due.get(what, now):
        return False
    _due[what] = now + _EVERY
    return True
