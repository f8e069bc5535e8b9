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
