"""Thousands of clients: whether a delivery costs what it costs among a thousand."""

from __future__ import annotations

from contestants import AXUM, DIRECT, ORIGINAL, OUTSIDE, Contestant, on
from result import Line, Table
from scale import Scale
from server import Server
from turns import Found, measure

DELIVERIES = 50_000  # a second, as in `paced`
SECONDS = 2


def many(scale: Scale) -> list[Line | Table]:
    contestants = DIRECT[:1] + on("uvicorn", ORIGINAL) + OUTSIDE + on("Rust", AXUM)
    sizes = (scale.many, scale.most)
    found = [_measure(contestants, clients, scale.many_rounds) for clients in sizes]
    columns = [""]
    for clients in sizes:
        columns += [f"CPU per delivery, {clients:,}", "latency p50", "p99", "not delivered"]
    table = Table(
        "many",
        f"Thousands: {DELIVERIES:,} deliveries a second to {sizes[0]:,} and to {sizes[1]:,} clients",
        f"As many deliveries a second as to a thousand, so fewer events; {scale.many_rounds} windows of {SECONDS} "
        "seconds for each, in turn.",
        columns,
        f"us of the server's processor per delivery, {sizes[1]:,} clients",
    )
    for one in contestants:
        if one not in found[0]:
            table.add_absent(one)
            continue
        cells = []
        for it in (each[one] for each in found):
            cells += [f"{it.cost:.2f} us", f"{it.p50:.1f} ms", f"{it.p99:.1f} ms", f"{it.missing:,}"]
        table.add(one, cells, found[1][one].cost)
    return [table]


def _measure(contestants: list[Contestant], clients: int, rounds: int) -> dict[Contestant, Found]:
    rate = DELIVERIES // clients
    events = rate * SECONDS

    def act(server: Server) -> None:
        server.paced(events, rate)

    return measure(contestants, clients, events, rounds, act)
