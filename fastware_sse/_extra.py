"""What an optional dependency's absence is told as, wherever it is first missed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Around imports of what the extra `name` brings: an ImportError says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(f"{error}: pip install 'fastware-sse[{name}]'", name=error.name) from error
