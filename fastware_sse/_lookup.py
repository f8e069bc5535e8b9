"""An event loop on which nobody waits for a name server."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any


class Loop(asyncio.SelectorEventLoop):
    """The threads of asyncio's own executor are waited for at the loop's end and at the interpreter's, and looking up a
    name may take half a minute. Those who ask for the same name wait for the same thread."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[Any, Future[Any]] = {}

    async def getaddrinfo(self, host: Any, port: Any, **options: int) -> Any:
        asked = host, port, *sorted(options.items())
        found = self._found.get(asked)
        if found is None:
            found = self._found[asked] = Future()
            threading.Thread(
                target=self._look_up, args=(asked, found, host, port, options), name="fastware_sse look-up", daemon=True
            ).start()
        waiter = self.create_future()

        def tell(found: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop has ended
                self.call_soon_threadsafe(_pass_on, found, waiter)

        found.add_done_callback(tell)  # not wrap_future(): one who is cancelled would cancel it for all
        return await waiter

    def _look_up(self, asked: Any, found: Future[Any], host: Any, port: Any, options: dict[str, int]) -> None:
        try:
            result = socket.getaddrinfo(host, port, **options)
        except Exception as error:
            del self._found[asked]
            found.set_exception(error)
        else:
            del self._found[asked]
            found.set_result(result)


def _pass_on(found: Future[Any], waiter: asyncio.Future[Any]) -> None:
    if waiter.done():
        return
    error = found.exception()
    if error is None:
        waiter.set_result(found.result())
    else:
        waiter.set_exception(error)
