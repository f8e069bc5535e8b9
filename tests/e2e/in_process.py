"""uvicorn in a thread of the test's own process, so that a test can look at both ends of a connection."""

import asyncio
import contextlib
import functools
import importlib.util
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import uvicorn
from client import LIMIT, Connection, Response, connect, connect_without_reading
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream

PAIRS = [(loop, http) for loop in ("asyncio", "uvloop") for http in ("httptools", "h11")]
STOCK = {"httptools": HttpToolsProtocol, "h11": H11Protocol}


@functools.cache
def protocol(http: str) -> type[asyncio.Protocol]:
    """Our protocol class, as it is where httptools is installed, and where it is not."""
    hidden = {} if http == "httptools" else {"uvicorn.protocols.http.httptools_impl": None}
    with mock.patch.dict(sys.modules, hidden):
        spec = importlib.util.find_spec("fastware_sse.uvicorn")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    assert issubclass(module.Protocol, STOCK[http])
    return module.Protocol


class Site:
    """A server of one Broadcaster: /ping is answered with "pong", everything else with the stream."""

    def __init__(
        self, loop: str, http: str, *, direct: bool = True, send_buffer: int = 0, unix: str = "", **config: Any
    ) -> None:
        self.listener = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        self.listener.bind(unix or ("127.0.0.1", 0))
        if send_buffer:  # the connections inherit it
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.listener.listen(1000)
        self.unix = unix
        self.port = 0 if unix else self.listener.getsockname()[1]
        self.app: Callable[..., Any] = self.stream
        self.broadcaster = Broadcaster(strict=False)
        self.options: dict[str, Any] = {}
        """Of the EventStream."""
        chosen = protocol(http) if direct else STOCK[http]
        settings = {
            "http": chosen,
            "loop": loop,
            "interface": "asgi3",
            "lifespan": "off",
            "log_config": None,
            "access_log": False,
        } | config
        self.server = uvicorn.Server(uvicorn.Config(self._answer, **settings))
        self.tls: ssl.SSLContext | None = None
        self._thread = threading.Thread(target=self.server.run, args=([self.listener],), daemon=True)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/ping":
            headers = [(b"content-length", b"4")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"pong"})
        else:
            await self.app(scope, receive, send)

    async def stream(self, scope: Any, receive: Any, send: Any) -> None:
        await EventStream(self.broadcaster, **self.options)(scope, receive, send)

    def start(self) -> None:
        self._thread.start()

    def stop(self, limit: float = LIMIT) -> None:
        """What SIGTERM leads to. Returns when it has stopped, within `limit` seconds."""
        self.server.should_exit = True
        self._thread.join(limit)
        assert not self._thread.is_alive()

    async def connect(self) -> Connection:
        if self.unix:
            _, connection = await asyncio.get_running_loop().create_unix_connection(Connection, self.unix)
            return connection
        return await connect(self.port, tls=self.tls)

    async def ping(self) -> None:
        """Once it has answered, it has seen what came before."""
        connection = await self.connect()
        await pong(connection)
        connection.close()

    async def open(self, number: int = 1, headers: str = "", target: str = "/") -> list[Response]:
        """So many clients more, each of which has seen the beginning of its stream."""
        streams = [(await self.connect()).send("GET", target, headers=headers) for _ in range(number)]
        for stream in streams:
            await stream.until(lambda stream=stream: stream.size > 0)
        return streams

    async def open_stuck(self) -> Response:
        """A client that reads nothing until read_on()."""
        connected = self.broadcaster.client_count
        stream = (await connect_without_reading(self.port)).send("GET", "/")
        await self.until(connected=connected + 1)
        return stream

    def broadcast(self, *texts: object) -> None:
        for text in texts:
            self.broadcaster.broadcast("message", str(text))

    async def until(self, **expected: int) -> None:
        """Wait until stats() say so."""
        await until(lambda: expected.items() <= self.broadcaster.stats().items(), self.broadcaster.stats)

    async def nothing_is_left(self) -> None:
        """Wait until no connection, request or client is left."""
        await self.until(connected=0, direct=0, log_events=0)
        state = self.server.server_state
        await until(lambda: not state.connections and not state.tasks, lambda: (state.connections, state.tasks))


async def pong(connection: Connection) -> None:
    """It is good for an ordinary request."""
    assert (await connection.send("GET", "/ping").end()).body == b"pong"


async def until(condition: Callable[[], object], shown: Callable[[], object] = str) -> None:
    """Look until `condition` holds: what another thread does, nothing tells."""
    try:
        async with asyncio.timeout(LIMIT):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"that never came; now: {shown()}") from None


@contextlib.contextmanager
def serving(loop: str, http: str, **options: Any) -> Iterator[Site]:
    site = Site(loop, http, **options)
    site.start()
    try:
        yield site
    except BaseException:
        site.server.force_exit = True  # or it waits for streams that the test has left open
        raise
    finally:
        site.broadcaster.close()
        site.stop()
