"""The clients of a server: `fastware-sse load` in a process of its own, and plain sockets that nobody reads."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from process import CLIENT_CORE, Process
from server import HOST, Server

PROGRAM = Path(sys.executable).with_name("fastware-sse")
FOR_EVER = 3600  # seconds
AT_ONCE = 1_000_000  # connects a second


class Load(Process):
    """Streams of one URL, held until finish()."""

    def __init__(self, url: str, streams: int, seconds: float = FOR_EVER) -> None:
        options = ["-n", str(streams), "--seconds", str(seconds), "--rate", str(AT_ONCE), "--no-reconnect", "--json"]
        super().__init__([str(PROGRAM), "load", url, *options], CLIENT_CORE, output=subprocess.PIPE)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def summary(self) -> dict[str, Any]:
        """Wait for its end."""
        text, _ = self.process.communicate(timeout=60)
        return json.loads(text)

    def finish(self) -> dict[str, Any]:
        """Let it read what is still on its way, and end it; returns its summary."""
        self.settle()
        self.interrupt()
        return self.summary()


@contextmanager
def listening(server: Server, count: int) -> Iterator[Load]:
    """That many clients of a server, which has come to rest; they have gone again afterwards."""
    others = server.clients()
    load = Load(server.url, count)
    try:
        server.wait_for_clients(others + count)
        server.settle()
        yield load
    finally:
        load.stop()
    server.wait_for_clients(others)
    server.settle()


def open_streams(server: Server, count: int) -> list[socket.socket]:
    """Sockets that have asked for the stream; nobody reads them."""
    request = f"GET {server.contestant.kind.target} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode()
    opened = []
    for _ in range(count):
        stream = socket.create_connection((HOST, server.port), timeout=10)
        stream.sendall(request)
        opened.append(stream)
    return opened
