"""redis-server and nats-server as subprocesses, each on a port of its own, to be killed, stopped and started again."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
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
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                if self.url.startswith("nats"):
                    return connection.recv(5) == b"INFO "
                connection.sendall(b"PING\r\n")
                return not connection.recv(8).startswith(b"-LOADING")  # +PONG, or that a password is wanted
        except ConnectionResetError:
            return True  # it wants TLS
        except OSError:
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
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # it may run on for a moment

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


class Proxy:
    """In front of an engine: its clients' connections, which can be cut, or held: what is sent then comes later."""

    def __init__(self, engine: Engine) -> None:
        self.url = ""
        self.there, self.back = asyncio.Event(), asyncio.Event()  # that way is open
        self.there.set()
        self.back.set()
        self._engine = engine
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self._engine.port)
            self._writers.add(there)
            await asyncio.gather(self._copy(reader, there, self.there), self._copy(back, writer, self.back))
        except OSError:
            writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: asyncio.Event) -> None:
        try:
            while data := await reader.read(1 << 16):
                await way.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    def cut(self) -> None:
        """All connections that there are."""
        for writer in self._writers:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def proxy(engine: Engine) -> AsyncIterator[Proxy]:
    between = Proxy(engine)
    server = await asyncio.start_server(between.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    between.url = engine.url.replace(str(engine.port), str(port))
    try:
        yield between
    finally:
        server.close()
        between.cut()


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
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        missing = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return path
