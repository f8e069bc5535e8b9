"""broadcast() itself, in a server whose clients are attached directly: with thousands of them, and with one."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median

from client import listening
from contestants import DIRECT
from result import Line, at_most
from running import running
from scale import Scale

CALLS = 200


def attached(scale: Scale) -> list[Line]:
    """A burst in the server that has many clients, then one in that which has one, and so on."""
    counts = (scale.most, 1)
    each: list[list[float]] = [[], []]
    with running([DIRECT[0]] * 2) as servers, ExitStack() as stack:
        for server, count in zip(servers, counts, strict=True):
            stack.enter_context(listening(server, count))
        for _ in range(scale.attached_rounds):
            for server, costs in zip(servers, each, strict=True):
                costs.append(server.burst(CALLS)["each"])
                server.settle()
    crowd, alone = (median(costs) for costs in each)
    what = f"broadcast() with {scale.most:,} attached clients over with 1"
    return [at_most(what, 1.2, crowd / alone, f"{crowd:,.0f} ns over {alone:,.0f} ns")]
