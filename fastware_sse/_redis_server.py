"""One Redis server as all the streams of a process on it share it: three connections, and what its errors mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import BlockingConnectionPool, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from . import _redis_scripts
from ._redis_tail import BLOCK, Tail
from .backplane import BackplaneError, BackplaneRefused, parts_of

PATIENCE = 5.0  # seconds for an answer

_EVER = 1e9  # seconds


class Server:
    """The connections of one event loop. Each is made when it is first used, and again after a failure."""

    def __init__(self, url: str) -> None:
        self.url = url
        # As long as the loop, which the child of a fork keeps for ever: freed there, a client would take its connection
        # out of the selector, which is the parent's too.
        self._kept = asyncio.get_running_loop().call_later(_EVER, lambda: self)
        # A connection that nobody has used for long may be closed by now: that deserves a second try.
        self._publishing = _client(_pool(url, PATIENCE, 1))
        self.ranges = _client(_pool(url, PATIENCE, 1))
        tailing = _client(_pool(url, PATIENCE + BLOCK, 0))
        self._clients = self._publishing, self.ranges, tailing
        self.tail = Tail(tailing, self.ranges)
        self.epoch = self.ranges.register_script(_redis_scripts.EPOCH)
        self.renew = self.ranges.register_script(_redis_scripts.RENEW)
        self.covers = self.ranges.register_script(_redis_scripts.COVERS)
        self.page = self.ranges.register_script(_redis_scripts.PAGE)
        self.publish = self._publishing.register_script(_redis_scripts.PUBLISH)

    async def close(self) -> None:
        self._kept.cancel()
        await self.tail.close()
        for client in self._clients:
            await client.aclose(close_connection_pool=True)

    @asynccontextmanager
    async def explained(self, key: str | None) -> AsyncIterator[None]:
        """Turns what the client library raises into what a Backplane raises. No key: any of those that are followed."""
        try:
            yield
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            if _is_demoted(error):  # its name may lead to another server by now
                for client in self._clients:
                    with suppress(exceptions.RedisError):  # TLS may not end in good order
                        await client.connection_pool.disconnect()
            raise _explanation(error, name_of(self.url), key) from error

    @asynccontextmanager
    async def asked(self, key: str) -> AsyncIterator[None]:
        """The same, around what has to be answered: also the wait for others that use the connection is bounded."""
        async with self.explained(key), asyncio.timeout(PATIENCE):
            yield


def _pool(url: str, patience: float, retries: int) -> Any:
    return BlockingConnectionPool.from_url(url, **_options(patience, retries))


def _options(patience: float, retries: int) -> dict[str, Any]:
    """Of a pool of one connection."""
    return {
        "max_connections": 1,
        "timeout": PATIENCE,
        "protocol": 2,  # with lists where 3 has maps: less to make, and the same on every server
        "decode_responses": False,
        "encoding": "utf-8",
        "socket_timeout": patience,
        "socket_connect_timeout": PATIENCE,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), retries, (exceptions.ConnectionError,)),
        "retry_on_error": [exceptions.ConnectionError],
    }


def _client(pool: Any) -> Any:
    """It keeps the connection, so that no command waits to be given one."""
    client: Any = Redis(connection_pool=pool, single_connection_client=True)
    client.response_callbacks.pop("XREAD", None)  # as it came: a dict for each entry costs more
    return client


def checked_url(url: str) -> str:
    """Returns it. Raises TypeError or ValueError, in words for the user and without the password."""
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    parts = parts_of(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"a Redis URL begins with redis://, rediss:// or unix://, not with {parts.scheme!r}")
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("a unix:// URL needs the path of a socket")
    if parts.scheme != "unix":
        if not parts.hostname:
            raise ValueError("the Redis URL names no host")
        database = parts.path.strip("/")
        if database and not database.isdecimal():
            raise ValueError(
                "the path of a Redis URL is the number of a database; a / in a password must be percent-encoded"
            )
    if chosen := _options(0, 0).keys() & parse_qs(parts.query, keep_blank_values=True).keys():
        raise ValueError(f"the Redis URL has an option that cannot be chosen: {', '.join(sorted(chosen))}")
    try:
        pool: Any = ConnectionPool.from_url(url)
        pool.make_connection()
    except (TypeError, ValueError) as error:  # of its query
        raise ValueError(f"the Redis URL has an option that redis-py does not take: {error}") from None
    return url


def name_of(url: str) -> str:
    """The URL as logs may show it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_demoted(error: Exception) -> bool:
    """Whether the server is a replica, perhaps since a moment ago."""
    text = str(error)  # Redis 6 says it in the middle, if a script is refused
    return isinstance(error, exceptions.ReadOnlyError) or "READONLY" in text or text.startswith("UNBLOCKED force")


def _explanation(error: Exception, server: str, key: str | None) -> BackplaneError:
    text = str(error)
    if _is_demoted(error):
        return BackplaneError(f"{server} is a replica: {text}")
    if "[SSL" in text:  # what redis-py makes of an ssl.SSLError is an ordinary failure to connect
        return BackplaneRefused(f"{server}: no TLS connection: {text}")
    if isinstance(error, exceptions.BusyLoadingError):
        return BackplaneError(f"{server} is loading its data")
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError):
        return BackplaneRefused(f"{server} refuses the user or the password: {text}")
    if isinstance(error, exceptions.OutOfMemoryError) or text.startswith("OOM"):
        return BackplaneRefused(f"{server} is out of memory (maxmemory): {text}")
    if isinstance(error, exceptions.ResponseError) and key is None:
        return BackplaneError(f"{server}: reading was refused: {text}")
    if "WRONGTYPE" in text:
        return BackplaneRefused(f"{server}: the key {key!r} holds something else than a stream")
    if isinstance(error, exceptions.ResponseError):
        return BackplaneRefused(f"{server} refuses: {text}")
    silence = "no answer; does it speak TLS there?" if server.startswith("rediss:") else "no answer"
    return BackplaneError(f"{server}: {text or silence}")
