"""The events that the contestants send: 120 bytes of JSON, numbered and timed for the load client to check."""

import itertools
import time
from typing import Any

ITEM = {"action": "created", "price": 1249.25, "item": "espresso machine 2", "by": "anna.meyer"}
FIRST = 100_000  # so that every number has as many digits


class Payloads:
    def __init__(self) -> None:
        self._numbers = itertools.count(FIRST)

    def next(self, size: int = 0) -> dict[str, Any]:
        """The data of the next event: the usual item, or `size` characters of text."""
        members = {"text": "x" * size} if size else ITEM
        return {"seq": next(self._numbers), "ts": time.time_ns()} | members

    def burst(self, events: int) -> list[dict[str, Any]]:
        """The data of the next events, all of them with the time of now: that of the burst's start."""
        start = time.time_ns()
        return [{"seq": next(self._numbers), "ts": start} | ITEM for _ in range(events)]
