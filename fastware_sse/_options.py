"""The values of options: each is checked here, or in csrc/py/options.c, and named in the TypeError or ValueError."""

from __future__ import annotations

import inspect
import math
import sys
from typing import Any, SupportsFloat, SupportsIndex

from .backplane import Backplane

_LONGEST = 10_000_000  # seconds; loops refuse delays that are far longer
_LARGEST = 2**63 - 1  # of what Redis and NATS count


def checked_flag(name: str, flag: bool) -> bool:
    if not isinstance(flag, bool):
        raise TypeError(f"{name} must be a bool, not {type(flag).__name__}")
    return flag


def checked_seconds(name: str, seconds: float | None, least: float) -> float | None:
    """Takes what float() takes, but no text."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, SupportsFloat | SupportsIndex):
        raise TypeError(f"{name} must be a number of seconds or None, not {type(seconds).__name__}")
    try:
        number = float(seconds)
    except OverflowError:
        number = math.inf
    if not least <= number <= _LONGEST:  # false for NaN
        raise ValueError(f"{name} must be None or from {least} to {_LONGEST} seconds")
    return number


def checked_hook(name: str, hook: Any) -> Any:
    if hook is not None and not callable(hook):
        raise TypeError(f"{name} must be callable or None, not {type(hook).__name__}")
    if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__):
        raise TypeError(f"{name} must be a plain function, not a coroutine function: nobody would await it")
    return hook


def checked_gap_event(name: str | None) -> str | None:
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"gap_event must be a str or None, not {type(name).__name__}")
    if any(character in name for character in "\r\n\0"):
        raise ValueError("gap_event must not contain CR, LF or NUL: it is one line on the wire")
    name.encode()  # raises for a lone surrogate
    return name


def checked_backplane(backplane: Backplane | None) -> Backplane | None:
    if backplane is not None and not isinstance(backplane, Backplane):
        raise TypeError(f"backplane must be a Backplane or None, not {type(backplane).__name__}")
    return backplane


def checked_buffer(buffer: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(buffer, tuple) or [type(limit) for limit in buffer] != [int, int]:
        raise TypeError("backplane_buffer must be a pair of int: events and bytes")
    if not 1 <= min(buffer) <= max(buffer) <= sys.maxsize:
        raise ValueError(f"backplane_buffer must be two numbers from 1 to {sys.maxsize}: events and bytes")
    return buffer


def checked_name(what: str, name: str) -> str:
    """Of a stream; `what` is what its engine calls that."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, not {type(name).__name__}")
    if not name:
        raise ValueError(f"{what} must not be empty")
    return name


def checked_maxlen(maxlen: int) -> int:
    if not isinstance(maxlen, int) or isinstance(maxlen, bool):
        raise TypeError(f"maxlen must be an int, not {type(maxlen).__name__}")
    if not 1 <= maxlen <= _LARGEST:
        raise ValueError(f"maxlen must be from 1 to {_LARGEST}, not {maxlen}")
    return maxlen
