"""Events to many clients, paced and in bursts: processor time of the server for each delivery, and latency."""

from __future__ import annotations

import sys

from contestants import (
    AIOHTTP,
    ALL,
    ALONE,
    ASGI_SERVERS,
    AXUM,
    BLACKSHEEP,
    DIRECT,
    DJANGO,
    FASTAPI,
    FLOOR,
    LITESTAR,
    MERCURE,
    MOUNTED,
    NCHAN,
    ORIGINAL,
    ORIGINAL_HEARTBEAT,
    OTHERS,
    OUTSIDE,
    PEERS,
    QUART,
    ROUTE,
    STARLETTE,
    STREAM,
    STREAM_HEARTBEAT,
    Contestant,
    Kind,
    on,
)
from result import Line, Table
from scale import Scale
from turns import Bound, Found, measure, ratios, table

RATE = 50
LIGHT_RATE = 10
LIGHT_SECONDS = 2
BURST = 200

FASTEST = DIRECT[0]
ON_UVICORN, ON_GRANIAN = on("uvicorn", ORIGINAL) + on("granian", ORIGINAL)
(BY_NCHAN,), (BY_AXUM,), (BY_FLOOR,) = on("nginx", NCHAN), on("Rust", AXUM), on("C", FLOOR)


def _on_both(*bounds: tuple[Kind, Kind, float]) -> list[Bound]:
    return [
        (Contestant(ours, server), Contestant(base, server), bound)
        for server in ASGI_SERVERS
        for ours, base, bound in bounds
    ]


def _of_fastest(*bounds: tuple[Contestant, float]) -> list[Bound]:
    return [(FASTEST, base, bound) for base, bound in bounds]


PACED_BOUNDS = _on_both(
    (ALONE, ORIGINAL, 0.8),
    (MOUNTED, ORIGINAL, 0.95),
    (STREAM, ORIGINAL, 0.95),
    (STREAM_HEARTBEAT, ORIGINAL_HEARTBEAT, 0.7),
)
OVER_FLOOR = [(one, BY_FLOOR, 1.1) for one in DIRECT]
OVER_OTHERS = _of_fastest((ON_GRANIAN, 0.42), (ON_UVICORN, 0.42), (BY_NCHAN, 0.9), (BY_AXUM, 0.9))
LATENCY_BOUNDS = _of_fastest((ON_UVICORN, 0.5), (BY_NCHAN, 1.0))
BURST_BOUNDS = _on_both((ALONE, ORIGINAL, 0.05), (MOUNTED, ORIGINAL, 0.05), (ROUTE, ORIGINAL, 0.1))
LAST_BOUNDS = _of_fastest((BY_NCHAN, 0.1), (BY_AXUM, 0.3), (BY_FLOOR, 2.0))
YIELDING_BOUNDS = _of_fastest((ON_GRANIAN, 0.05))
ADAPTER_BOUNDS = _on_both((STARLETTE, ALONE, 1.15), (FASTAPI, ALONE, 1.15), (LITESTAR, ALONE, 1.15))


def paced(scale: Scale) -> list[Line | Table]:
    kinds = (ORIGINAL, ROUTE, STREAM, MOUNTED, ALONE, ORIGINAL_HEARTBEAT, STREAM_HEARTBEAT)
    contestants = DIRECT + [one for server in ASGI_SERVERS for one in on(server, *kinds)] + OTHERS + PEERS
    found = measure(contestants, scale.clients, RATE, scale.paced_rounds, lambda server: server.paced(RATE, RATE))
    what = f"server CPU per delivery, paced {RATE}/s to {scale.clients:,} clients"
    lines = ratios(found, PACED_BOUNDS, what)
    if sys.version_info[:2] != (3, 11):
        # There asyncio.wait_for() makes a task for each event. Later ones do not, and demand nothing.
        for line, (ours, _, _) in zip(lines, PACED_BOUNDS, strict=True):
            if ours.kind is STREAM_HEARTBEAT:
                line.must, line.met = f"{line.must} on 3.11", None
    lines += ratios(found, OVER_FLOOR + OVER_OTHERS, what)
    millions = scale.paced_rounds * RATE * scale.clients / 1e6
    what = "full garbage collections per million paced deliveries: uvicorn, stream()"
    lines.append(_collections(found, STREAM, ORIGINAL, millions, what))
    what += ", heartbeat_interval=30"
    lines.append(_collections(found, STREAM_HEARTBEAT, ORIGINAL_HEARTBEAT, millions, what))
    shown = table(
        "paced",
        f"Paced: {RATE} events a second to {scale.clients:,} clients",
        f"A dashboard's life. {scale.paced_rounds} windows of one second for each, in turn. Every event goes to every "
        "client by itself, so most of the time is the kernel's. The floor shows how much.",
        contestants,
        found,
        ORIGINAL,
    )
    return [*lines, shown]


def light(scale: Scale) -> list[Line | Table]:
    contestants = DIRECT + on("uvicorn", ORIGINAL, ALONE) + on("granian", ORIGINAL, ALONE) + OUTSIDE + on("Rust", AXUM)
    events = LIGHT_RATE * LIGHT_SECONDS
    found = measure(
        contestants, scale.clients, events, scale.light_rounds, lambda server: server.paced(events, LIGHT_RATE)
    )
    load = f"{LIGHT_RATE}/s to {scale.clients:,} clients"
    lines = ratios(found, OVER_FLOOR + OVER_OTHERS, f"server CPU per delivery, {load}")
    for figure in ("p50", "p99"):
        lines += ratios(found, LATENCY_BOUNDS, f"latency {figure}, {load}", figure, "ms")
    shown = table(
        "light",
        f"Light: {LIGHT_RATE} events a second to {scale.clients:,} clients",
        f"As above, with room between the events; {scale.light_rounds} windows of {LIGHT_SECONDS} seconds for each, "
        "in turn.",
        contestants,
        found,
        ORIGINAL,
    )
    return [*lines, shown]


def burst(scale: Scale) -> list[Line | Table]:
    contestants = ALL + PEERS
    found = measure(contestants, scale.clients, BURST, scale.burst_rounds, lambda server: server.burst(BURST))
    load = f"burst of {BURST} to {scale.clients:,} clients"
    lines = ratios(found, BURST_BOUNDS, f"server CPU per delivery, {load}")
    lines += ratios(found, LAST_BOUNDS, f"until the last client has the last event, {load}", "last", "ms")
    shown = table(
        "burst",
        f"Burst: {BURST} events at once to {scale.clients:,} clients",
        f"A handler broadcasts {BURST} events without a pause; {scale.burst_rounds} times for each. Times are from the "
        "burst's start. With ours, and with the floor, events that wait together leave together. nchan gets them one "
        "by one, from outside.",
        contestants,
        found,
        ORIGINAL,
    )
    return [*lines, shown]


def yielding(scale: Scale) -> list[Line | Table]:
    contestants = DIRECT + on("uvicorn", ORIGINAL, ALONE) + on("granian", ORIGINAL, ALONE) + OUTSIDE
    contestants += on("Go", MERCURE) + on("Rust", AXUM)
    found = measure(contestants, scale.clients, BURST, scale.burst_rounds, lambda server: server.burst(BURST, True))
    what = f"server CPU per delivery, burst of {BURST} with a turn after each to {scale.clients:,} clients"
    shown = table(
        "yielding",
        f"Burst of a publisher that yields: {BURST} events to {scale.clients:,} clients",
        f"As above, but the handler lets its event loop (its scheduler) have a turn after each event. The floor calls "
        f"send() for each of them; nchan is asked as above. {scale.burst_rounds} times for each.",
        contestants,
        found,
        ORIGINAL,
    )
    return [*ratios(found, YIELDING_BOUNDS, what), shown]


def adapters(scale: Scale) -> list[Line | Table]:
    """As `paced`, through the adapters of the frameworks, and without any."""
    bounded = (ALONE, STARLETTE, FASTAPI, LITESTAR)
    contestants = on("uvicorn", *bounded, QUART, DJANGO, BLACKSHEEP) + on("its own server", AIOHTTP)
    contestants += on("granian", *bounded)
    found = measure(contestants, scale.clients, RATE, scale.adapter_rounds, lambda server: server.paced(RATE, RATE))
    what = f"server CPU per delivery, paced {RATE}/s to {scale.clients:,} clients"
    shown = table(
        "adapters",
        f"Through frameworks: {RATE} events a second to {scale.clients:,} clients",
        f"What a framework's adapter adds to a stream; {scale.adapter_rounds} windows of one second for each, in turn. "
        "aiohttp serves itself, so its row is over EventStream on uvicorn.",
        contestants,
        found,
        ALONE,
    )
    return [*ratios(found, ADAPTER_BOUNDS, what), shown]


def _collections(found: dict[Contestant, Found], ours: Kind, original: Kind, millions: float, what: str) -> Line:
    mine, other = (found[Contestant(kind, "uvicorn")] for kind in (ours, original))
    texts = [f"{one.collections / millions:.0f}, longest {one.longest:.0f} ms" for one in (mine, other)]
    return Line(what, "fewer", f"{texts[0]} (the original {texts[1]})", mine.collections < other.collections)
