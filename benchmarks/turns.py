"""Contestants that have their turns, again and again: what each delivery costs the server, and how long it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from client import listening
from contestants import ABSENT, ASGI_SERVERS, Contestant, Kind
from result import Line, Table, at_most
from running import running
from server import Server


@dataclass
class Found:
    """Of one turn, or the medians of all."""

    cost: float  # us of the server's processor time per delivery
    p50: float  # ms
    p99: float
    last: float  # ms until the last client had the last event
    missing: int  # events times clients that never came, of all turns
    collections: int  # full ones of the garbage, of all turns
    longest: float  # ms, of these


Bound = tuple[Contestant, Contestant, float]  # ours, what it is compared with, and how much of that it may be


def measure(
    contestants: Iterable[Contestant], clients: int, events: int, rounds: int, act: Callable[[Server], object]
) -> dict[Contestant, Found]:
    """The turn of the first contestant, then that of the next, and so on; each with clients of its own, which go when
    it ends."""
    turns: dict[Contestant, list[Found]] = {}
    with running(contestants) as servers:
        for _ in range(rounds):
            for server in servers:
                turns.setdefault(server.contestant, []).append(_turn(server, clients, events, act))
    return {one: _medians(found) for one, found in turns.items()}


def _turn(server: Server, clients: int, events: int, act: Callable[[Server], object]) -> Found:
    one = server.contestant
    with listening(server, clients) as load:
        if one.kind.app:
            server.collections()  # those of the connects
        before = server.cpu()
        act(server)
        server.settle()
        cost = (server.cpu() - before) / (events * clients) * 1e6
        collections = server.collections() if one.kind.app else {"count": 0, "longest": 0.0}
        summary = load.finish()
    missing = events * clients - summary["events"]
    if one.kind.is_ours and (missing or not summary["ok"]):
        raise RuntimeError(f"{one.name}: not every client got exactly every event: {summary}")
    p50, p99, last = (summary["latency"][name] * 1e3 for name in ("p50", "p99", "max"))
    return Found(cost, p50, p99, last, missing, int(collections["count"]), collections["longest"])


def _medians(turns: list[Found]) -> Found:
    cost, p50, p99, last = (median(getattr(turn, name) for turn in turns) for name in ("cost", "p50", "p99", "last"))
    missing, collections = (sum(getattr(turn, name) for turn in turns) for name in ("missing", "collections"))
    return Found(cost, p50, p99, last, missing, collections, max(turn.longest for turn in turns))


def ratios(
    found: dict[Contestant, Found], bounds: Iterable[Bound], what: str, figure: str = "cost", unit: str = "us"
) -> list[Line]:
    """A line for each bound."""
    lines = []
    for ours, base, bound in bounds:
        name = f"{what}: {_name(ours)} over {_name(base)}"
        if base.server in ABSENT:
            lines.append(Line(name, f"<= {bound:g}", f"not measured, {base.server}: {ABSENT[base.server]}"))
            continue
        mine, other = (getattr(found[one], figure) for one in (ours, base))
        lines.append(at_most(name, bound, mine / other, f"{mine:.2f} {unit} over {other:.2f} {unit}"))
    return lines


def _name(one: Contestant) -> str:
    return one.name.removeprefix("ours: ")


def table(
    name: str, title: str, how: str, contestants: Iterable[Contestant], found: dict[Contestant, Found], base: Kind
) -> Table:
    """A row for each. The cost is compared with that of `base` on the same server, or on the first one."""
    columns = ["", "CPU per delivery", f"over {base.name.removeprefix('ours: ')}"]
    columns += ["latency p50", "p99", "last", "not delivered"]
    made = Table(name, title, how, columns, "us of the server's processor per delivery")
    for one in contestants:
        if one not in found:
            made.add_absent(one)
            continue
        it = found[one]
        other = found[Contestant(base, one.server if one.server in ASGI_SERVERS else ASGI_SERVERS[0])].cost
        cells = [f"{it.cost:.2f} us", f"{it.cost / other:.2f}"]
        cells += [f"{value:.1f} ms" for value in (it.p50, it.p99, it.last)]
        made.add(one, [*cells, f"{it.missing:,}"], it.cost)
    return made
