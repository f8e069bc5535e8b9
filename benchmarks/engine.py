"""redis-server and nats-server, as a backplane's."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory

from process import CORES, Process
from server import HOST

COMMANDS = {
    "redis": ["redis-server", "--port", "{port}", "--save", "", "--appendonly", "yes"],
    "nats": ["nats-server", "--addr", HOST, "--port", "{port}", "--jetstream", "--store_dir", "{folder}"],
}


class Engine(Process):
    """redis-server, which writes its file once a second, or nats-server, with its streams in files."""

    def __init__(self, engine: str, folder: str, core: set[int]) -> None:
        with socket.socket() as holder:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((HOST, 0))
            port = str(holder.getsockname()[1])
            self.url = f"{engine}://{HOST}:{port}"
            command = [part.format(port=port, folder=folder) for part in COMMANDS[engine]]
            super().__init__(["env", "-C", folder, *command], core)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                with suppress(OSError), socket.create_connection((HOST, int(port)), timeout=1):
                    return
                time.sleep(0.01)
        self.stop()
        raise RuntimeError(f"{engine} did not start")


@contextmanager
def running_engine(engine: str, core: set[int] = CORES) -> Iterator[Engine]:
    with TemporaryDirectory() as folder:
        server = Engine(engine, folder, core)
        try:
            yield server
        finally:
            server.stop()
