"""Which framework a request is from, told by its type, and the module that answers it: nothing else is imported."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from .broadcaster import Broadcaster

# The package that the request's class is from, and our module of that name. FastAPI's class is Starlette's.
_FRAMEWORKS = frozenset({"aiohttp", "blacksheep", "django", "litestar", "quart", "starlette"})


class Adapter(Protocol):
    """A module that knows one framework."""

    def respond(self, broadcaster: Broadcaster, request: Any, initial: list[tuple[str, Any]] | None, /) -> Any:
        """What a handler of the framework returns, to answer `request` with a stream. It checks `initial`."""


def adapter_of(request: object) -> Adapter | None:
    """None if the request is fastware's or unknown."""
    # Not type(): Quart's global request is a proxy, and only its __class__ is that of the request behind it.
    for base in request.__class__.__mro__:
        package = base.__module__.partition(".")[0]
        if package in _FRAMEWORKS:
            return cast("Adapter", importlib.import_module(f".{package}", __package__))
    return None
