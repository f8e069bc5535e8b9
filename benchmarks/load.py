"""A server process, and the clients that load it: plain sockets, one epoll, big reads, event ends counted."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import common

HOST = "127.0.0.1"
CORES = os.sched_getaffinity(0)
CLIENT_CORE, SERVER_CORE = {min(CORES)}, {max(CORES)}
EVENT_END, LF = b"\n\n", 10
LAST_CHUNK = b"0\r\n\r\n"


@contextmanager
def side_by_side(server: str, target: str, streams: int, **options: Any) -> Iterator[dict[str, Server]]:
    """The original and ours, each in a server process of its own with `streams` open streams; nothing goes on yet."""
    servers: dict[str, Server] = {}
    os.sched_setaffinity(0, CLIENT_CORE)
    try:
        for which in common.IMPLEMENTATIONS:
            servers[which] = Server(server, which, **options)
            servers[which].open_streams(target, streams)
        yield servers
    finally:
        for one in servers.values():
            one.close()
        os.sched_setaffinity(0, CORES)


class Server:
    """app.py in a process of its own, on a core of its own, and the clients that hold streams open."""

    def __init__(self, server: str, which: str, *, heartbeat: float = 0) -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self._port = probe.getsockname()[1]
        environ = os.environ | {"BENCH_WHICH": which, "BENCH_HEARTBEAT": str(heartbeat)}
        self.process = subprocess.Popen(
            [sys.executable, "app.py", server, str(self._port)],
            cwd=Path(__file__).parent,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.sched_setaffinity(self.process.pid, SERVER_CORE)  # inherited by the worker and by all threads
        self._streams: dict[int, socket.socket] = {}
        self._poll = select.epoll()
        self._buffer = bytearray(1 << 20)
        try:
            self._pid = self._wait_until_up()  # of the worker, where there is one
        except BaseException:
            self.process.kill()
            raise
        self._worker = os.pidfd_open(self._pid)

    def _wait_until_up(self) -> int:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                return self.call("GET", "/status")["pid"]
            except ConnectionError:
                time.sleep(0.05)
        raise RuntimeError("the server did not start")

    def call(self, method: str, target: str) -> Any:
        with socket.create_connection((HOST, self._port)) as connection:
            connection.sendall(
                f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()
            )
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.splitlines()[0]:
            raise RuntimeError(f"{method} {target}: {answer[:200]!r}")
        return json.loads(body)

    def open_streams(self, target: str, count: int) -> None:
        for _ in range(count):
            stream = socket.create_connection((HOST, self._port))
            stream.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            stream.setblocking(False)
            self._streams[stream.fileno()] = stream
            self._poll.register(stream.fileno(), select.EPOLLIN)
        while self.call("GET", "/status")["clients"] < count:
            time.sleep(0.05)
        self._read_headers()

    def _read_headers(self) -> None:
        waiting = set(self._streams)
        while waiting:
            for fd, _ in self._poll.poll():
                head = self._streams[fd].recv(65536)
                if not head.startswith(b"HTTP/1.1 200") or not head.endswith(b"\r\n\r\n"):
                    raise RuntimeError(f"unexpected answer: {head!r}")
                waiting.discard(fd)

    def receive(self, events: int, timeout: float = 30) -> None:
        """Read until every client has got `events` events; one that gets fewer, or more, fails the run."""
        buffer, streams, poll = self._buffer, self._streams, self._poll.poll
        counts, last = dict.fromkeys(streams, 0), dict.fromkeys(streams, 0)
        missing = events * len(streams)
        deadline = time.monotonic() + timeout
        while missing > 0 and time.monotonic() < deadline:
            for fd, _ in poll(1):
                size = streams[fd].recv_into(buffer)
                if size == 0:
                    raise RuntimeError("a stream has ended")
                found = buffer.count(EVENT_END, 0, size)
                if last[fd] == LF == buffer[0]:  # an end that was cut in two
                    found += 1
                last[fd] = buffer[size - 1]
                counts[fd] += found
                missing -= found
        wrong = [count for count in counts.values() if count != events]
        if wrong:
            raise RuntimeError(f"{len(wrong)} clients got not {events} events but {min(wrong)} to {max(wrong)}")

    def cpu(self) -> float:
        """Seconds of processor time that the process which runs the handlers has used, all threads."""
        total = 0
        for thread in Path(f"/proc/{self._pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
        return total / 1e9

    def terminate(self, patience: float) -> float | None:
        """Send SIGTERM to the main process; returns the seconds until it has gone, or None."""
        start = time.monotonic()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
            return time.monotonic() - start
        return None

    def clean_ends(self) -> int:
        """How many of the streams have ended as HTTP/1.1 wants it. For after the server has gone."""
        clean = 0
        for stream in self._streams.values():
            received = b""
            stream.settimeout(5)
            while data := stream.recv(65536):
                received += data
            clean += received.endswith(LAST_CHUNK)
        return clean

    def close(self) -> None:
        for stream in self._streams.values():
            stream.close()
        self._poll.close()
        self.process.kill()
        self.process.wait()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._worker, signal.SIGKILL)
        os.close(self._worker)
