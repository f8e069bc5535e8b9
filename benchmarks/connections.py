"""Many streams that open, idle and close: time, processor time and memory of the server for each."""

from __future__ import annotations

import time
from collections import defaultdict
from statistics import median

from client import Load
from contestants import ALL, ALONE, ORIGINAL, Contestant
from result import Line, Table, at_most
from running import running
from scale import Scale
from server import Server

WARM_UP = 50  # streams that come, get an event and go, before anything is measured


def connections(scale: Scale) -> list[Line | Table]:
    """A storm on the first contestant, on the next, and so on; again and again. Memory is that of the first storm."""
    opening, cost, closing = (defaultdict[Contestant, list[float]](list) for _ in range(3))
    memory: dict[Contestant, float] = {}
    with running(ALL) as servers:
        idle = {server.contestant: _warmed_up(server) for server in servers}
        for _ in range(scale.storms):
            for server in servers:
                one = server.contestant
                opened, used, resident, closed = _storm(server, scale.many)
                opening[one].append(opened)
                cost[one].append(used / scale.many * 1e6)
                closing[one].append(closed)
                memory.setdefault(one, (resident - idle[one]) / scale.many)
    uvicorn = [memory[Contestant(kind, "uvicorn")] for kind in (ALONE, ORIGINAL)]
    line = at_most(
        "server RSS per idle connection: EventStream alone over the original, uvicorn",
        0.6,
        uvicorn[0] / uvicorn[1],
        f"{uvicorn[0] / 1024:.1f} KiB over {uvicorn[1] / 1024:.1f} KiB",
    )
    idle_table = Table(
        "idle",
        f"Idle memory: {scale.many:,} streams that wait",
        f"How much the server's resident memory grows for each, after {WARM_UP} others have come, got an event and "
        "gone. What the kernel holds for a socket is not in it.",
        ["", "resident memory per stream"],
        "KiB of resident memory per stream",
    )
    storm_table = Table(
        "storm",
        f"Connect storm: {scale.many:,} streams as fast as the client can",
        f"From the first connect until the server counts all of them, and from the moment when all are closed until "
        f"it counts none. The median of {scale.storms} storms on each, in turn.",
        ["", "all open after", "CPU per connect", "all gone after"],
        "us of the server's processor per connect",
    )
    for one in ALL:
        if one not in memory:
            idle_table.add_absent(one)
            storm_table.add_absent(one)
            continue
        idle_table.add(one, [f"{memory[one] / 1024:.1f} KiB"], memory[one] / 1024)
        spent = median(cost[one])
        cells = [f"{median(opening[one]):.2f} s", f"{spent:.0f} us", f"{median(closing[one]):.2f} s"]
        storm_table.add(one, cells, spent)
    return [line, idle_table, storm_table]


def _warmed_up(server: Server) -> int:
    """Its resident bytes once it has done everything once."""
    load = Load(server.url, WARM_UP)
    try:
        server.wait_for_clients(WARM_UP)
        server.burst(1)
        server.settle()
        load.finish()
        server.wait_for_clients(0)
    finally:
        load.stop()
    server.settle()
    return server.rss()


def _storm(server: Server, streams: int) -> tuple[float, float, int, float]:
    """Seconds until all are open; processor time of that; resident bytes then; seconds until all have gone."""
    before = server.cpu()
    load = Load(server.url, streams)
    try:
        while server.cpu() - before < 0.001:  # the client itself has to start first
            time.sleep(0.001)
        start = time.monotonic()
        server.wait_for_clients(streams)
        opened = time.monotonic() - start
        server.settle()
        used, resident = server.cpu() - before, server.rss()
        load.settle()
        load.interrupt()
        start = time.monotonic()
        server.wait_for_clients(0)
        closed = time.monotonic() - start
        summary = load.summary()
    finally:
        load.stop()
    if summary["opened"] != streams:
        raise RuntimeError(f"{server.contestant.name}: only {summary['opened']} of {streams} could be opened")
    return opened, used, resident, closed
