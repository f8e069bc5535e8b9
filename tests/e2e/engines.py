"""redis-server and nats-server as subprocesses, each on a port of its own, that a test may kill, stop and start again."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import reserve_port

READY_LIMIT = 20  # seconds; a start takes some hundredths


class Engine:
    """A server that keeps its data in `folder`, so that it may be started again where it was."""

    def __init__(self, scheme: str, command: list[str], port: int, folder: Path) -> None:
        self.port = port
        self.url = f"{scheme}://127.0.0.1:{port}"
        self._command = command
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + READY_LIMIT
        while not self._answers():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            if self.url.startswith("nats"):
                return connection.recv(5) == b"INFO "
            connection.sendall(b"PING\r\n")
            return not connection.recv(8).startswith(b"-LOADING")  # +PONG, or that a password or TLS is wanted
        return False

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[Engine]:
    """With an append-only file that is written before a command is answered. `options` as on its command line."""
    command = [_program("redis-server"), "--port", "{port}", "--bind", "127.0.0.1", "--save", ""]
    with _running("redis", [*command, "--appendonly", "yes", "--appendfsync", "always", *options], folder) as engine:
        yield engine


@contextlib.contextmanager
def nats_server(folder: Path, *options: str) -> Iterator[Engine]:
    """With JetStream on files. `options` as on its command line."""
    command = [_program("nats-server"), "--port", "{port}", "--addr", "127.0.0.1", "--jetstream", "--store_dir", "data"]
    with _running("nats", [*command, *options], folder) as engine:
        yield engine


@contextlib.contextmanager
def _running(scheme: str, command: list[str], folder: Path) -> Iterator[Engine]:
    with reserve_port() as holder:
        port = holder.getsockname()[1]
        engine = Engine(scheme, [part.format(port=port) for part in command], port, folder)
        try:
            engine.start()
            yield engine
        finally:
            engine.kill()


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        missing = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return path
