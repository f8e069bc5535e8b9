"""Slow readers among fast ones: what clients that never read do to the others, and to the server's memory."""

from __future__ import annotations

from client import Load, open_streams
from contestants import ALL, DIRECT
from result import Line, Table
from running import running
from scale import Scale
from server import Server

STUCK = 50
RATE = 50
SIZE = 16 * 1024


def slow(scale: Scale) -> list[Line | Table]:
    """One contestant after the other; it has clients only while it is measured."""
    fast, events = scale.slow_clients - STUCK, scale.slow_seconds * RATE
    table = Table(
        "slow",
        f"Slow readers: {STUCK} of {scale.slow_clients:,} clients never read",
        f"Events of {SIZE // 1024} KiB, {RATE} a second for {scale.slow_seconds} seconds: {events * SIZE / 1e6:.0f} MB "
        "for each client, of which the kernel takes about 4 MB when nobody reads. Latency and loss are those of the "
        "others; memory is how much the server has grown by the end, with what it keeps for the stuck ones.",
        ["", "latency p50", "p99", "not delivered", "memory", "clients at the end"],
        "ms until an event was read, p99 of the fast clients",
    )
    contestants = DIRECT[:1] + [one for one in ALL if one not in DIRECT]
    with running(contestants) as servers:
        found = {server.contestant: _measure(server, fast, events) for server in servers}
    for one in contestants:
        if one not in found:
            table.add_absent(one)
            continue
        p50, p99, missing, growth, held = found[one]
        if one.kind.is_ours and missing:
            raise RuntimeError(f"{one.name}: {missing} events did not reach fast clients")
        table.add(one, [f"{p50:.1f} ms", f"{p99:.1f} ms", f"{missing:,}", f"{growth:+.0f} MB", f"{held:,}"], p99)
    return [table]


def _measure(server: Server, fast: int, events: int) -> tuple[float, float, int, float, int]:
    load = Load(server.url, fast)
    try:
        server.wait_for_clients(fast)
        stuck = open_streams(server, STUCK)
        server.wait_for_clients(fast + STUCK)
        server.settle()
        before = server.rss()
        server.paced(events, RATE, SIZE)
        server.settle()
        growth, held = (server.rss() - before) / 1e6, server.clients()
        summary = load.finish()
        for stream in stuck:
            stream.close()
    finally:
        load.stop()
    p50, p99 = (summary["latency"][name] * 1e3 for name in ("p50", "p99"))
    return p50, p99, events * fast - summary["events"], growth, held
