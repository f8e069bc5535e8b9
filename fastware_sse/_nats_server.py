"""One NATS server or cluster as the streams of a process share it: one connection, and what its errors mean."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from nats import errors
from nats.aio.client import Client
from nats.js import errors as js_errors

from ._nats_connection import PATIENCE, Connection
from ._nats_credentials import credentials_in
from .backplane import BackplaneError, BackplaneRefused, PositionLost, parts_of

RANGES = 4  # consumers at once that read a range

_PING = 2  # seconds
_PARTING = 1.0  # seconds in which a connection may end in good order
_NO_STREAM = 10059  # JetStream's code
_DRAWN = re.compile(r"(?<=fastware_sse_)[0-9a-f]{16}|(?<=_inbox\.)[\w.*]+", re.IGNORECASE)  # in names


class Address(NamedTuple):
    """Where the server is, and how to be admitted. Streams with equal ones share a connection."""

    url: str
    tls: ssl.SSLContext | None
    credentials: str | None

    @property
    def wants_tls(self) -> bool:
        return self.tls is not None or any(urlsplit(each).scheme in ("tls", "wss") for each in self.url.split(","))

    @property
    def admission(self) -> dict[str, Any]:
        """What stands in the URL for it: the client library would send that as it is, percent-encoded."""
        for parts in map(urlsplit, self.url.split(",")):
            if parts.username is not None and parts.password is not None:
                return {"user": unquote(parts.username), "password": unquote(parts.password)}
            if parts.username is not None:
                return {"token": unquote(parts.username)}
        return {}

    @property
    def name(self) -> str:
        """The URL as logs may show it."""
        parts = map(urlsplit, self.url.split(","))
        return ",".join(f"{each.scheme}://{each.netloc.rpartition('@')[2]}" for each in parts)


class Server:
    """What one event loop has of it. The connection is made when it is first used, and again after a failure."""

    def __init__(self, address: Address) -> None:
        self.ranging = asyncio.Semaphore(RANGES)
        self._address = address
        self._connecting = asyncio.Lock()
        self._connection: Connection | None = None
        self._complaint: Exception | None = None  # of the server or the client library, that answered no call

    async def close(self) -> None:
        if self._connection is not None:
            await _closed(self._connection.client)

    async def connected(self) -> Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.is_usable:
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> Connection:
        client, self._complaint = Client(), None
        connection = Connection(client)

        async def on_error(error: Exception) -> None:
            if not connection.refused(error):
                self._complaint = error

        try:
            await client.connect(
                servers=self._address.url.split(","),
                name="fastware_sse",
                tls=self._address.tls,
                user_credentials=credentials_in(self._address.credentials),
                **self._address.admission,
                connect_timeout=int(PATIENCE),
                allow_reconnect=False,  # whoever uses it has to look first what it has missed
                max_reconnect_attempts=1,  # of each server, at the beginning, and at once
                reconnect_time_wait=0,
                ping_interval=_PING,
                max_outstanding_pings=2,
                error_cb=on_error,
                closed_cb=connection.on_closed,
            )
            # It has sent the password by now: the client library asks for TLS only if the server does.
            if self._address.wants_tls and not client._server_info.get("tls_required"):
                raise errors.SecureConnWantedError
            await connection.begin()
        except BaseException:
            await _closed(client)
            raise
        return connection

    @contextmanager
    def explained(self, stream: str) -> Iterator[None]:
        """Turns what the client library raises into what a Backplane raises."""
        try:
            yield
        except BackplaneError:
            raise
        except (errors.Error, OSError, TimeoutError) as error:
            raise self._explanation(error, stream) from error

    @asynccontextmanager
    async def asked(self, stream: str) -> AsyncIterator[Connection]:
        """The same, with the connection, around what has to be answered: no answer comes once the connection is cut."""
        with self.explained(stream):
            async with asyncio.timeout(PATIENCE) as limit:
                connection = await self.connected()

                def cut() -> None:
                    if not limit.expired():  # it can be over while what it has cancelled is not
                        limit.reschedule(0)

                with connection.woken(cut):
                    yield connection

    def _explanation(self, error: Exception, stream: str) -> BackplaneError:
        server = self._address.name
        if isinstance(error, TimeoutError | errors.NoServersError) and self._complaint is not None:
            error = self._complaint  # the reason; so a request that is not permitted is never answered
        text = _DRAWN.sub("*", str(error).removeprefix("nats: ")) or "no answer"
        if isinstance(error, ssl.SSLError | errors.SecureConnWantedError | errors.SecureConnFailedError):
            return BackplaneRefused(f"{server}: no TLS connection: {text}")
        if any(word in text.lower() for word in ("authorization", "authentication", "permissions")):
            return BackplaneRefused(f"{server} refuses the user, the password or the token: {text}")
        if isinstance(error, js_errors.NotFoundError) and error.err_code == _NO_STREAM:
            return PositionLost(f"there is no stream {stream!r}")
        if isinstance(error, js_errors.NoStreamResponseError):
            return PositionLost(f"no stream of {server} takes what is published to {stream!r}")
        if isinstance(error, js_errors.ServiceUnavailableError | errors.NoRespondersError):
            return BackplaneRefused(f"{server} has no JetStream, or not yet: {text}")
        if isinstance(error, js_errors.APIError):
            return BackplaneRefused(f"{server} refuses: {error.description}")
        return BackplaneError(f"{server}: {text}")


async def _closed(client: Any) -> None:
    with suppress(Exception):  # it is of no use any more, whatever it says
        async with asyncio.timeout(_PARTING):
            await client.close()


def checked_url(url: str) -> str:
    """Returns it. Raises TypeError or ValueError, in words for the user and without the password."""
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    servers = [parts_of(each) for each in url.split(",")]
    for parts in servers:
        if parts.scheme not in ("nats", "tls", "ws", "wss"):
            raise ValueError(
                "a NATS URL begins with nats://, tls://, ws:// or wss://; those of a cluster are each whole"
            )
        if not parts.hostname:
            raise ValueError("the NATS URL names no host")
        if parts.scheme in ("nats", "tls") and (parts.path.strip("/") or parts.query or parts.fragment):
            raise ValueError("a NATS URL ends with its host and port; a / in a password must be percent-encoded")
    if len({parts.netloc.rpartition("@")[0] for parts in servers} - {""}) > 1:
        raise ValueError("all servers of a NATS URL have the same user and password, or the same token")
    return url


def checked_tls(context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    if context is not None and not isinstance(context, ssl.SSLContext):
        raise TypeError(f"tls must be an ssl.SSLContext or None, not {type(context).__name__}")
    return context
