"""The event loop of the background thread, on which nobody waits for a name server."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import Future
from typing import Any


class Loop(asyncio.SelectorEventLoop):
    """The threads of asyncio's own executor are waited for at the loop's end and at the interpreter's, and looking up a
    name may take half a minute."""

    async def getaddrinfo(self, host: Any, port: Any, **options: int) -> Any:
        found: Future[Any] = Future()

        def look_up() -> None:
            if found.set_running_or_notify_cancel():
                try:
                    found.set_result(socket.getaddrinfo(host, port, **options))
                except Exception as error:
                    found.set_exception(error)

        threading.Thread(target=look_up, name="fastware_sse look-up", daemon=True).start()
        return await asyncio.wrap_future(found)
