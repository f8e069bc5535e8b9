"""Events to many clients, paced and in a burst: processor time of the server for each delivery."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from client import Load
from contestants import (
    AIOHTTP,
    ALL,
    ALONE,
    ASGI_SERVERS,
    BLACKSHEEP,
    DJANGO,
    FASTAPI,
    LITESTAR,
    MOUNTED,
    ORIGINAL,
    ORIGINAL_HEARTBEAT,
    OTHERS,
    QUART,
    ROUTE,
    STARLETTE,
    STREAM,
    STREAM_HEARTBEAT,
    Contestant,
    Kind,
    on,
)
from result import Line, Table, at_most
from running import running
from scale import Scale
from server import Server

RATE = 50
BURST = 200

# Ours, what it is compared with, and how much of that it may cost.
PACED_BOUNDS = [
    (ALONE, ORIGINAL, 0.8),
    (MOUNTED, ORIGINAL, 0.95),
    (STREAM, ORIGINAL, 0.95),
    (STREAM_HEARTBEAT, ORIGINAL_HEARTBEAT, 0.7),
]
BURST_BOUNDS = [(ALONE, ORIGINAL, 0.05), (MOUNTED, ORIGINAL, 0.05), (ROUTE, ORIGINAL, 0.1)]
ADAPTER_BOUNDS = [(kind, ALONE, 1.15) for kind in (STARLETTE, FASTAPI, LITESTAR)]

AXIS = "us of the server's processor per delivery"


@dataclass
class Found:
    cost: float  # us of the server's processor time per delivery, the median of the windows
    p50: float  # ms
    p99: float
    missing: int  # events times clients that never came
    collections: dict[str, float]


def paced(scale: Scale) -> list[Line | Table]:
    """One second to the clients of the first contestant, one to those of the next, and so on; again and again."""
    kinds = (ORIGINAL, ROUTE, STREAM, MOUNTED, ALONE, ORIGINAL_HEARTBEAT, STREAM_HEARTBEAT)
    contestants = [one for server in ASGI_SERVERS for one in on(server, *kinds)] + OTHERS
    found = _measure(contestants, scale.clients, RATE, scale.paced_rounds, lambda server: server.paced(RATE, RATE))
    what = f"server CPU per delivery, paced {RATE}/s to {scale.clients:,} clients"
    lines = _ratios(found, PACED_BOUNDS, what)
    millions = scale.paced_rounds * RATE * scale.clients / 1e6
    what = "full garbage collections per million paced deliveries: uvicorn, stream()"
    lines.append(_collections(found, STREAM, ORIGINAL, millions, what))
    what += ", heartbeat_interval=30"
    lines.append(_collections(found, STREAM_HEARTBEAT, ORIGINAL_HEARTBEAT, millions, what))
    table = Table(
        "paced",
        f"Paced: {RATE} events a second to {scale.clients:,} clients",
        f"A dashboard's life. {scale.paced_rounds} windows of one second for each, in turn. Every event goes to every "
        "client by itself, so most of the time is the kernel's. The floor shows how much.",
        _columns("the original"),
        AXIS,
    )
    return [*lines, _filled(table, contestants, found, ORIGINAL)]


def burst(scale: Scale) -> list[Line | Table]:
    """200 events in one go to the clients of the first contestant, then to those of the next, and so on."""
    found = _measure(ALL, scale.clients, BURST, scale.burst_rounds, lambda server: server.burst(BURST))
    what = f"server CPU per delivery, burst of {BURST} to {scale.clients:,} clients"
    lines = _ratios(found, BURST_BOUNDS, what)
    table = Table(
        "burst",
        f"Burst: {BURST} events at once to {scale.clients:,} clients",
        f"A handler broadcasts {BURST} events without a pause; {scale.burst_rounds} times for each. With ours, "
        "and with the floor, events that wait together leave together. nchan gets them one by one, from outside.",
        _columns("the original"),
        AXIS,
    )
    return [*lines, _filled(table, ALL, found, ORIGINAL)]


def adapters(scale: Scale) -> list[Line | Table]:
    """As `paced`, through the adapters of the frameworks, and without any."""
    bounded = (ALONE, *(kind for kind, _, _ in ADAPTER_BOUNDS))
    contestants = on("uvicorn", *bounded, QUART, DJANGO, BLACKSHEEP) + on("its own server", AIOHTTP)
    contestants += on("granian", *bounded)
    found = _measure(contestants, scale.clients, RATE, scale.adapter_rounds, lambda server: server.paced(RATE, RATE))
    what = f"server CPU per delivery, paced {RATE}/s to {scale.clients:,} clients"
    table = Table(
        "adapters",
        f"Through frameworks: {RATE} events a second to {scale.clients:,} clients",
        f"What a framework's adapter adds to a stream; {scale.adapter_rounds} windows of one second for each, in turn. "
        "aiohttp serves itself, so its row is over EventStream on uvicorn.",
        _columns("EventStream alone"),
        AXIS,
    )
    return [*_ratios(found, ADAPTER_BOUNDS, what), _filled(table, contestants, found, ALONE)]


def _measure(
    contestants: list[Contestant], clients: int, events: int, rounds: int, act: Callable[[Server], None]
) -> dict[Contestant, Found]:
    costs: dict[Contestant, list[float]] = {one: [] for one in contestants}
    found = {}
    with running(contestants) as servers, ExitStack() as stack:
        loads = []
        for server in servers:
            loads.append(Load(server.url, clients))
            stack.callback(loads[-1].stop)
            server.wait_for_clients(clients)
            server.settle()
            if server.contestant.kind.app:
                server.collections()  # those of the start
        for _ in range(rounds):
            for server in servers:
                before = server.cpu()
                act(server)
                server.settle()
                costs[server.contestant].append((server.cpu() - before) / (events * clients) * 1e6)
        for server, load in zip(servers, loads, strict=True):
            one = server.contestant
            collections = server.collections() if one.kind.app else {}
            summary = load.finish()
            missing = rounds * events * clients - summary["events"]
            if one.kind.is_ours and (missing or not summary["ok"]):
                raise RuntimeError(f"{one.name}: not every client got exactly every event: {summary}")
            p50, p99 = (summary["latency"][name] * 1e3 for name in ("p50", "p99"))
            found[one] = Found(median(costs[one]), p50, p99, missing, collections)
    return found


def _ratios(found: dict[Contestant, Found], bounds: list[tuple[Kind, Kind, float]], what: str) -> list[Line]:
    lines = []
    for server in ASGI_SERVERS:
        for ours, base, bound in bounds:
            mine, other = (found[Contestant(kind, server)].cost for kind in (ours, base))
            names = " over ".join(kind.name.removeprefix("ours: ") for kind in (ours, base))
            line = at_most(f"{what}: {server}, {names}", bound, mine / other, f"{mine:.2f} us over {other:.2f} us")
            if ours is STREAM_HEARTBEAT and sys.version_info[:2] != (3, 11):
                # On 3.11 asyncio.wait_for() makes a task for each event. Later ones do not, and demand nothing.
                line.must, line.met = f"{line.must} on 3.11", None
            lines.append(line)
    return lines


def _collections(found: dict[Contestant, Found], ours: Kind, original: Kind, millions: float, what: str) -> Line:
    mine, other = (found[Contestant(kind, "uvicorn")].collections for kind in (ours, original))
    texts = [f"{one['count'] / millions:.0f}, longest {one['longest']:.0f} ms" for one in (mine, other)]
    return Line(what, "fewer", f"{texts[0]} (the original {texts[1]})", mine["count"] < other["count"])


def _columns(base: str) -> list[str]:
    return ["", "CPU per delivery", f"over {base}", "latency p50", "p99", "not delivered"]


def _filled(table: Table, contestants: list[Contestant], found: dict[Contestant, Found], base: Kind) -> Table:
    for one in contestants:
        if one not in found:
            table.add_absent(one)
            continue
        it = found[one]
        other = found[Contestant(base, one.server if one.server in ASGI_SERVERS else ASGI_SERVERS[0])].cost
        cells = [
            f"{it.cost:.2f} us",
            f"{it.cost / other:.2f}",
            f"{it.p50:.1f} ms",
            f"{it.p99:.1f} ms",
            f"{it.missing:,}",
        ]
        table.add(one, cells, it.cost)
    return table
