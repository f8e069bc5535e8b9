"""What deliveries do to everything else on the event loop: how late a task is that wakes every millisecond."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from client import listening
from contestants import ALONE, DIRECT, ORIGINAL, Contestant, on
from deliveries import RATE
from result import Line, Table
from running import running
from scale import Scale


def lag(scale: Scale) -> list[Line | Table]:
    """One second to the clients of the first contestant, one to those of the next, and so on."""
    on_uvicorn = on("uvicorn", ORIGINAL, ALONE)
    contestants = DIRECT + on_uvicorn
    found: dict[Contestant, list[float]] = defaultdict(list)
    with running(contestants) as servers:
        for _ in range(scale.lag_rounds):
            for server in servers:
                with listening(server, scale.clients):
                    found[server.contestant].append(server.lag(RATE, RATE)["p99"])
    medians = {one: median(values) for one, values in found.items()}
    load = f"{RATE} events a second to {scale.clients:,} clients"
    mine, other = medians[DIRECT[0]], medians[on_uvicorn[0]]
    what = f"event-loop lag p99, {load}: EventStream alone, direct on uvicorn over the original in fastware, uvicorn"
    table = Table(
        "lag",
        f"The event loop's lag: {load}",
        "A task in the server sleeps for a millisecond, again and again; how late it wakes. The median of "
        f"{scale.lag_rounds} windows of one second for each, in turn.",
        ["", "lag p99"],
        "ms that a task on the event loop is late, p99",
    )
    for one, value in medians.items():
        table.add(one, [f"{value:.1f} ms"], value)
    return [Line(what, "", f"{mine / other:.2f} ({mine:.2f} ms over {other:.2f} ms)"), table]
