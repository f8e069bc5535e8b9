"""Many streams that open, idle and close: time, processor time and memory of the server for each."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from client import Load, listening
from contestants import ABSENT, ALL, ALONE, DIRECT, NCHAN, ORIGINAL, Contestant, on
from result import Line, Table, at_most
from running import running
from scale import Scale
from server import Server

WARM_UP = 50  # streams that come, get an event and go, before anything is measured


KIB = 1024


@dataclass
class Storm:
    opened: float  # seconds until all are open
    cost: float  # us of processor time for each
    closed: float  # seconds until all have gone
    idle: float  # KiB of resident memory for each, beyond what the server had before it
    used: float  # the same after an event


def connections(scale: Scale) -> list[Line | Table]:
    """A storm on the first contestant, on the next, and so on; again and again. Memory is that of the first storm."""
    found = defaultdict[Contestant, list[Storm]](list)
    with running(ALL) as servers:
        before = {server.contestant: _warmed_up(server) for server in servers}
        for _ in range(scale.storms):
            for server in servers:
                found[server.contestant].append(_storm(server, scale.many, before[server.contestant]))
    first = {one: storms[0] for one, storms in found.items()}
    idle_table = Table(
        "idle",
        f"Idle memory: {scale.many:,} streams that wait",
        f"How much the server's resident memory grows for each, after {WARM_UP} others have come, got an event and "
        "gone; and once each has got an event. What the kernel holds for a socket is not in it.",
        ["", "resident memory per stream", "after an event"],
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
        if one not in found:
            idle_table.add_absent(one)
            storm_table.add_absent(one)
            continue
        idle_table.add(one, [f"{first[one].idle:.1f} KiB", f"{first[one].used:.1f} KiB"], first[one].idle)
        opened, cost, closed = (
            median(getattr(storm, name) for storm in found[one]) for name in ("opened", "cost", "closed")
        )
        storm_table.add(one, [f"{opened:.2f} s", f"{cost:.0f} us", f"{closed:.2f} s"], cost)
    return [*_lines(first), idle_table, storm_table]


def _lines(memory: dict[Contestant, Storm]) -> list[Line]:
    ours, original = (memory[one].idle for one in on("uvicorn", ALONE, ORIGINAL))
    what = "server RSS per idle connection: EventStream alone over the original, uvicorn"
    lines = [at_most(what, 0.6, ours / original, f"{ours:.1f} KiB over {original:.1f} KiB")]
    for direct in DIRECT[:2]:
        mine, other = memory[direct].used, memory[Contestant(direct.kind, "uvicorn")].used
        what = f"server RSS per attached client beyond the ordinary path: {direct.name.removeprefix('ours: ')}"
        detail = f"KiB ({mine:.1f} KiB, {other:.1f} KiB)"
        lines.append(Line(what, "<= 1 KiB", f"{mine - other:.2f} {detail}", mine - other <= 1))
    what = "server RSS per connection after an event: EventStream alone, direct on uvicorn over nchan"
    (nchan,) = on("nginx", NCHAN)
    if nchan in memory:
        mine, other = memory[DIRECT[0]].used, memory[nchan].used
        lines.append(at_most(what, 1, mine / other, f"{mine:.1f} KiB over {other:.1f} KiB"))
    else:
        lines.append(Line(what, "<= 1", f"not measured, nginx: {ABSENT[nchan.server]}"))
    return lines


def _warmed_up(server: Server) -> int:
    """Its resident bytes once it has done everything once."""
    with listening(server, WARM_UP) as load:
        server.burst(1)
        server.settle()
        load.finish()
    return server.rss()


def _storm(server: Server, streams: int, resident: int) -> Storm:
    before = server.cpu()
    load = Load(server.url, streams)
    try:
        while server.cpu() - before < 0.001:  # the client itself has to start first
            time.sleep(0.001)
        start = time.monotonic()
        server.wait_for_clients(streams)
        opened = time.monotonic() - start
        server.settle()
        spent, idle = server.cpu() - before, server.rss()
        server.burst(1)
        server.settle()
        used = server.rss()
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
    grown = [(bytes - resident) / streams / KIB for bytes in (idle, used)]
    return Storm(opened, spent / streams * 1e6, closed, *grown)
