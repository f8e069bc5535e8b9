"""A server that several engine objects of an event loop use: the first one makes it, and the last one closes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

from .backplane import BackplaneError


class Server(Protocol):
    async def close(self) -> None:
        """Close its connections."""


S = TypeVar("S", bound=Server)
A = TypeVar("A", bound=Hashable)

# By loop, engine and address. The child of a fork leaves those of the parent's loop here, never to be freed.
_servers: dict[tuple[Any, ...], tuple[Any, set[Any]]] = {}


class Share(Generic[S]):
    """One engine object's, on each loop that it uses the server on."""

    def __init__(self, owner: str, make: Callable[[A], S], address: A) -> None:
        """The server is make(address), unless there is one for an equal address. Errors name the owner."""
        self._owner = owner
        self._make: Callable[[Any], S] = make
        self._address = address

    def _key(self) -> tuple[Any, ...]:
        return asyncio.get_running_loop(), self._make, self._address

    def take(self) -> S:
        """Idempotent."""
        key = self._key()
        if key not in _servers:
            _servers[key] = self._make(self._address), set()
        _servers[key][1].add(self)
        return self.server

    @property
    def server(self) -> S:
        """Raises BackplaneError if it was not taken."""
        server, shares = _servers.get(self._key(), (None, ()))
        if self not in shares:
            raise BackplaneError(f"{self._owner} is not open")
        return server  # type: ignore[return-value]

    async def release(self) -> None:
        """Idempotent."""
        server, shares = _servers.get(self._key(), (None, set()))
        shares.discard(self)
        if server is not None and not shares:
            del _servers[self._key()]
            await server.close()
