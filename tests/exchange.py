"""A request to an ASGI application, with a receive and a send of the tests' own."""

import asyncio
from collections.abc import Callable
from typing import Any

from support import turns


class Exchange:
    """One request, and the task in which a server would run the application. Every message is checked when it is sent.

    Before anything is read, `allowed` messages go through; whoever sends more is blocked.
    """

    def __init__(self, app: Any, method: str = "GET", allowed: float = float("inf"), **scope: Any) -> None:
        self.scope = {"type": "http", "method": method, "path": "/x", "headers": [], "http_version": "1.1"} | scope
        self.messages: list[dict[str, Any]] = []
        self.allowed = allowed
        self.failure: BaseException | None = None  # raised by the next send
        self.blocked = 0  # times that a send had to wait
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self._sending = False
        self._app = app
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> int:
        await self._app(self.scope, self.receive, self.send)
        return asyncio.current_task().cancelling()

    async def receive(self) -> dict[str, Any]:
        got = await self.incoming.get()
        if isinstance(got, BaseException):
            raise got
        return got

    async def send(self, message: dict[str, Any]) -> None:
        assert not self._sending, "sends overlap"
        self._sending = True
        try:
            if self.failure is not None:
                raise self.failure
            if len(self.messages) >= self.allowed:
                self.blocked += 1
                await asyncio.get_running_loop().create_future()
        finally:
            self._sending = False
        self._check(message)
        self.messages.append(message)

    def _check(self, message: dict[str, Any]) -> None:
        if not self.messages:
            assert set(message) == {"type", "status", "headers"}
            assert message["type"] == "http.response.start"
            for name, value in message["headers"]:
                assert type(name) is bytes and type(value) is bytes and name == name.lower()
        else:
            assert set(message) == {"type", "body", "more_body"}
            assert message["type"] == "http.response.body"
            assert type(message["body"]) is bytes
            assert not self.complete, "something is sent after the end"

    def leave(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})

    async def end(self) -> "Exchange":
        """Wait for the application to return, which it must do with no cancellation left over."""
        assert await asyncio.wait_for(self.task, 5) == 0
        return self

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return self.messages[0]["headers"]

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.messages[1:]]

    @property
    def text(self) -> str:
        return b"".join(self.bodies).decode()

    @property
    def complete(self) -> bool:
        return len(self.messages) > 1 and not self.messages[-1]["more_body"]


async def connect(app: Any, **options: Any) -> Exchange:
    """A client that has got what there is for it."""
    exchange = Exchange(app, **options)
    await turns(8)
    return exchange


def ask(app: Any, method: str = "GET", *headers: tuple[bytes, bytes]) -> Exchange:
    """A request for /events with all that a framework looks for."""
    scope = {"path": "/events", "raw_path": b"/events", "root_path": "", "query_string": b"", "scheme": "http"}
    return Exchange(app, method, headers=list(headers), server=("localhost", 80), **scope)


async def until(condition: Callable[[], bool]) -> None:
    """Let everything happen until `condition` holds; how many turns a framework takes is its own business."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)
