"""Clients that have stopped for good among a thousand: how long the others wait, beside a run without stopped ones."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from statistics import median

from client import listening, open_streams
from contestants import DIRECT, ORIGINAL, Contestant, on
from deliveries import RATE
from result import Line, Table, at_most
from running import running
from scale import Scale
from server import Server

# The kernel takes about 4 MB for a client that reads nothing. So these fill it, and then some have to wait in the
# server; together with those of the window they are fewer than a buffer_size, so that the stopped ones stay.
FILLING, FILLING_RATE, FILLING_SIZE = 300, 150, 16 * 1024
WINDOW = 150


def stopped(scale: Scale) -> list[Line | Table]:
    """Each contestant without stopped clients, then with them; the next contestant; and all of it again."""
    contestants = DIRECT[:1] + on("uvicorn", ORIGINAL)
    stuck = scale.clients // 100
    without, among = defaultdict[Contestant, list[float]](list), defaultdict[Contestant, list[float]](list)
    with running(contestants) as servers:
        for _ in range(scale.stopped_rounds):
            for server in servers:
                without[server.contestant].append(_measure(server, scale.clients - stuck, 0))
                among[server.contestant].append(_measure(server, scale.clients - stuck, stuck))
    table = Table(
        "stopped",
        f"Stopped for good: {stuck} of {scale.clients:,} clients",
        f"{WINDOW} events, {RATE} a second, while {stuck} clients have long stopped reading, and the same without "
        f"these. Latency is that of the others, the median of {scale.stopped_rounds} windows.",
        ["", "p99 without", "p99 beside stopped ones", "ratio"],
        "latency p99 of the others over that without stopped clients",
    )
    for one in contestants:
        alone, beside = median(without[one]), median(among[one])
        table.add(one, [f"{alone:.1f} ms", f"{beside:.1f} ms", f"{beside / alone:.2f}"], beside / alone)
    alone, beside = median(without[DIRECT[0]]), median(among[DIRECT[0]])
    what = f"latency p99 of {scale.clients - stuck} clients beside {stuck} stopped ones over without these, direct"
    return [at_most(what, 2, beside / alone, f"{beside:.1f} ms over {alone:.1f} ms"), table]


def _measure(server: Server, fast: int, stuck: int) -> float:
    """ms, p99 of the fast ones."""
    with ExitStack() as stack:
        for stream in open_streams(server, stuck):
            stack.enter_context(stream)
        server.wait_for_clients(stuck)
        if stuck:
            server.paced(FILLING, FILLING_RATE, FILLING_SIZE)
        with listening(server, fast) as load:
            server.paced(WINDOW, RATE)
            server.settle()
            if (clients := server.clients()) != fast + stuck:
                raise RuntimeError(f"{server.contestant.name}: {clients} clients at the end of a window")
            summary = load.finish()
    server.wait_for_clients(0)
    server.settle()
    if summary["events"] != WINDOW * fast:
        raise RuntimeError(f"{server.contestant.name}: the others have lost events: {summary}")
    return summary["latency"]["p99"] * 1e3
