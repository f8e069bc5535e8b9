"""A server under test, and what the harness asks of it: see apps/control.py."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from contextlib import suppress
from typing import Any

from contestants import COMMANDS, Contestant
from process import SERVER_CORE, Process

HOST = "127.0.0.1"
PATIENCE = 120  # seconds for an answer: a burst may take a slow server long


class Server(Process):
    """One that answers what apps/control.py does: of an application in apps/, or the floor."""

    def __init__(self, contestant: Contestant, **places: str) -> None:
        self.contestant = contestant
        kind = contestant.kind
        with socket.socket() as holder:  # nobody else is given the port, but a server may listen on it
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((HOST, 0))
            self.port = holder.getsockname()[1]
            self._prepare()
            names = {"port": str(self.port), "app": kind.app, "which": kind.which} | places
            command = [part.format(**names) for part in COMMANDS[contestant.server]]
            environ = {"BENCH_WHICH": kind.which, "BENCH_HEARTBEAT": str(kind.heartbeat)}
            super().__init__(command, SERVER_CORE, environ=environ)
            try:
                self._wait_until_up()
            except BaseException:
                self.stop()
                raise

    def _prepare(self) -> None:
        """What is to be done once the port is known."""

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(ConnectionError):
                self.pid = self.status().get("pid", self.pid)  # of the worker, where there is one
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.contestant.name} did not start")

    def _call(self, method: str, target: str) -> Any:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        try:
            connection.request(method, target, headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"{method} {target}: {response.status} {body[:200]!r}")
        return json.loads(body)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}{self.contestant.kind.target}"

    def status(self) -> dict[str, int]:
        """{"pid", "clients"}"""
        return self._call("GET", "/status")

    def clients(self) -> int:
        return self.status()["clients"]

    def wait_for_clients(self, count: int, patience: float = 60) -> None:
        deadline = time.monotonic() + patience
        while (clients := self.clients()) != count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.contestant.name} has {clients} clients, not {count}")
            time.sleep(0.01)

    def paced(self, events: int, rate: int, size: int = 0) -> None:
        """Let it broadcast `events` events, `rate` of them a second; returns when it has."""
        self._call("POST", f"/paced?events={events}&rate={rate}&size={size}")

    def burst(self, events: int, yields: bool = False) -> dict[str, float]:
        """Let it broadcast `events` events in one go, or with a turn of its loop after each; returns when it has. Of a
        Python app: {"each": ns}."""
        return self._call("POST", f"/burst?events={events}&yields={yields:d}")

    def lag(self, events: int, rate: int) -> dict[str, float]:
        """As paced(); how late its event loop is meanwhile: {"p99": ms}."""
        return self._call("POST", f"/lag?events={events}&rate={rate}")

    def collections(self) -> dict[str, float]:
        """Its full garbage collections since the last question: {"count", "longest" in ms}."""
        return self._call("POST", "/collections")

    def terminate(self, patience: float) -> float | None:
        """Send SIGTERM to the main process; returns the seconds until it has gone, or None."""
        start = time.monotonic()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
            return time.monotonic() - start
        return None
