"""Real servers with 1,000 clients: processor time of the server per delivery, and its exit."""

from __future__ import annotations

import sys
from statistics import median

import common
from common import Line, at_most
from load import Server, side_by_side

SERVERS = {"granian": "granian (asyncio)", "uvicorn": "uvicorn (uvloop)"}
CLIENTS = 1_000  # granian under fastware's serve() admits no more than 1,024

STARTS = 2  # of both server processes
WINDOWS = 4  # of the original and ours in turn, for each start
RATE, PACED = 50, 100
BURST = 200

EXITS = 3
PATIENCE = 3.0


def paced() -> list[Line]:
    """50 events a second through stream(), two seconds to the clients of the original, two to ours, and so on."""
    return [_paced(server, 0, 0.95) for server in SERVERS]


def paced_heartbeat() -> list[Line]:
    """The same with heartbeat_interval=30. The bound is for Python 3.11, whose asyncio.wait_for() makes a task."""
    return [_paced(server, 30, 0.7) for server in SERVERS]


def _paced(server: str, heartbeat: float, bound: float) -> Line:
    costs = _per_delivery(server, "/events", f"/paced?events={PACED}&rate={RATE}", PACED, heartbeat)
    what = f"server CPU per delivery, paced {RATE}/s, stream(){', heartbeat' if heartbeat else ''}: {SERVERS[server]}"
    line = at_most(what, bound, *_ratio(costs))
    if heartbeat and sys.version_info[:2] != (3, 11):
        line.must, line.met = f"{line.must} on 3.11", None
    return line


def burst() -> list[Line]:
    """200 events in one handler, through sse_route; the original and ours in turn."""
    lines = []
    for server, name in SERVERS.items():
        costs = _per_delivery(server, "/route", f"/burst?events={BURST}", BURST, 0)
        lines.append(at_most(f"server CPU per delivery, burst of {BURST}, sse_route: {name}", 0.1, *_ratio(costs)))
    return lines


def _per_delivery(server: str, streams: str, action: str, events: int, heartbeat: float) -> dict[str, float]:
    """Medians, in microseconds."""
    costs: dict[str, list[float]] = {which: [] for which in common.IMPLEMENTATIONS}
    for _ in range(STARTS):
        with side_by_side(server, streams, CLIENTS, heartbeat=heartbeat) as servers:
            for _ in range(WINDOWS):
                for which, one in servers.items():
                    before = one.cpu()
                    one.call("POST", action)
                    one.receive(events)
                    costs[which].append((one.cpu() - before) / (events * CLIENTS) * 1e6)
    return {which: median(found) for which, found in costs.items()}


def _ratio(costs: dict[str, float]) -> tuple[float, str]:
    ours, original = costs["ours"], costs["original"]
    return ours / original, f"{ours:.2f} us over {original:.2f} us"


def exit_time() -> list[Line]:
    """SIGTERM with 1,000 open streams; every client must see a clean end."""
    lines = []
    for server, name in SERVERS.items():
        times = [_exit_time(server, "ours") for _ in range(EXITS)]
        original = _exit_time(server, "original")
        beside = f"the original {f'{original:.2f} s' if original else f'still there after {PATIENCE:g} s'}"
        what = f"exit after SIGTERM with {CLIENTS:,} open streams: {name}"
        if None in times:
            lines.append(Line(what, "<= 1.5 s", f"still there after {PATIENCE:g} s", False))
        else:
            lines.append(Line(what, "<= 1.5 s", f"{median(times):.2f} s ({beside})", median(times) <= 1.5))
    return lines


def _exit_time(server: str, which: str) -> float | None:
    one = Server(server, which)
    try:
        one.open_streams("/events", CLIENTS)
        seconds = one.terminate(PATIENCE)
        if seconds is not None and one.clean_ends() != CLIENTS:
            raise RuntimeError("not every stream had a clean end")
        return seconds
    finally:
        one.close()
