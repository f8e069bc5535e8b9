"""A server that is away: since when, what is said of it, and how long to wait before it is asked again."""

from __future__ import annotations

import asyncio
import logging
import random
import time

from .backplane import BackplaneError, BackplaneRefused

_SHORTEST, _LONGEST = 0.05, 2.0  # seconds

_log = logging.getLogger("fastware_sse")


class Backoff:
    """Waits that double, each drawn anew, so that many processes do not come back together."""

    def __init__(self) -> None:
        self._most = _SHORTEST

    def reset(self) -> None:
        self._most = _SHORTEST

    async def wait(self) -> None:
        most, self._most = self._most, min(self._most * 2, _LONGEST)
        await asyncio.sleep(random.uniform(most / 2, most))


class Outage:
    """Lasts while anything that is done with the server fails. One WARNING at its start, one INFO at its end; another
    WARNING for what an operator must mend, if that is found out later."""

    def __init__(self, server: object) -> None:
        self._server = server
        self._troubles: dict[str, Exception] = {}
        self._said: set[str] = set()
        self.since: float | None = None
        self._began = 0.0  # by a clock that is never set

    @property
    def text(self) -> str | None:
        """What is wrong, or None."""
        return next((str(error) for error in self._troubles.values()), None)

    def begin(self, what: str, error: Exception) -> None:
        text = str(error)
        if self.since is None:
            self.since, self._began = time.time(), time.monotonic()
            self._said = {text}
            # Whatever is no BackplaneError was not foreseen: with its traceback.
            _log.warning(
                "%s: %s failed, and is tried again until it works: %s",
                self._server,
                what,
                text,
                exc_info=None if isinstance(error, BackplaneError) else error,
            )
        elif isinstance(error, BackplaneRefused) and text not in self._said:
            self._said.add(text)
            _log.warning("%s: %s", self._server, text)
        self._troubles[what] = error

    def end(self, what: str) -> None:
        if self._troubles.pop(what, None) is not None and not self._troubles and self.since is not None:
            _log.info("%s: works again after %.1f s", self._server, time.monotonic() - self._began)
            self.since = None
