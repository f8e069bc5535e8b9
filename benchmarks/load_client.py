"""The load client itself, on one core, against a server on the other that costs next to nothing."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from client import Load
from process import HERE, SERVER_CORE, Process
from result import Line
from scale import Scale

BURST_SERVER = HERE.parent / "tests" / "load" / "burst_server.py"
STREAMS = 50


def load_client(scale: Scale) -> list[Line]:
    with _burst_server(0) as url:
        held = _run(url, scale.load_streams)["most_open"]
    lines = [Line("the load client: streams it holds on this machine", ">= 15000", f"{held:,}", held >= 15_000)]
    for framing in ("chunked", "raw"):
        with _burst_server(scale.load_events, framing) as url:
            summary = _run(url, STREAMS)
        if not summary["ok"] or summary["events"] != scale.load_events * STREAMS:
            raise RuntimeError(f"the load client has miscounted: {summary}")
        speed = summary["events_per_second"] / 1e6
        what = f"the load client: events it checks a second, on one core, {framing}"
        lines.append(
            Line(what, ">= 2 million", f"{speed:.2f} million ({summary['cpu_seconds']:.1f} s of CPU)", speed >= 2)
        )
    return lines


@contextmanager
def _burst_server(events: int, framing: str = "raw") -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    server = Process([sys.executable, str(BURST_SERVER), str(port), str(events), framing], SERVER_CORE)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and server.process.poll() is None:
            with suppress(ConnectionError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.stop()


def _run(url: str, streams: int) -> dict:
    load = Load(url, streams)
    try:
        return load.finish()
    finally:
        load.stop()
