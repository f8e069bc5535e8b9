"""An ordinary request, one that is no stream: the processor's instructions for it with our protocol class."""

from __future__ import annotations

import http.client
import re
import subprocess
import tempfile
from pathlib import Path

from contestants import ABSENT, PLAIN, VALGRIND, Contestant
from result import Line, at_most
from server import HOST, PATIENCE, Server

WARM_UP, REQUESTS = 100, 500


class Counted(Server):
    """Under valgrind, which counts once it is told to, and then writes the sum into a file."""

    def __init__(self, contestant: Contestant) -> None:
        self._folder = tempfile.TemporaryDirectory()
        super().__init__(contestant, folder=self._folder.name)

    def instructions(self) -> float:
        """For each request of a connection that is kept."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        self._control("--instr=on")
        _ask(connection, WARM_UP)
        self._control("--zero")
        _ask(connection, REQUESTS)
        self._control("--dump")
        connection.close()
        (total,) = re.findall(r"^totals: (\d+)$", Path(self._folder.name, "counts.1").read_text(), re.MULTILINE)
        return int(total) / REQUESTS

    def _control(self, what: str) -> None:
        subprocess.run(["callgrind_control", what, str(self.pid)], capture_output=True, timeout=60, check=True)

    def stop(self) -> None:
        super().stop()
        self._folder.cleanup()


def _ask(connection: http.client.HTTPConnection, count: int) -> None:
    for _ in range(count):
        connection.request("GET", "/status")
        connection.getresponse().read()


def ordinary() -> list[Line]:
    """User space alone: what the kernel does is the same. The count repeats to a few in ten thousand."""
    what = "instructions of an ordinary request: our protocol class over stock uvicorn, httptools"
    if VALGRIND in ABSENT:
        return [Line(what, "<= 1.05", f"not measured, valgrind: {ABSENT[VALGRIND]}")]
    ours, stock = (_measure(f"{server}{VALGRIND}") for server in ("direct on uvicorn", "uvicorn"))
    return [at_most(what, 1.05, ours / stock, f"{ours:,.0f} over {stock:,.0f}")]


def _measure(server: str) -> float:
    counted = Counted(Contestant(PLAIN, server))
    try:
        return counted.instructions()
    finally:
        counted.stop()
