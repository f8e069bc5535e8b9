"""Full collections of the cyclic garbage collector in a server with 1,000 clients, and the longest of them."""

from __future__ import annotations

from common import Line
from load import side_by_side
from servers import CLIENTS, PACED, RATE, SERVERS

WINDOWS = 10  # 1,000,000 deliveries


def pauses() -> list[Line]:
    """A million deliveries through stream(), paced, without a heartbeat and with one; the original and ours in turn."""
    return [_pauses("uvicorn", heartbeat) for heartbeat in (0, 30)]


def _pauses(server: str, heartbeat: float) -> Line:
    with side_by_side(server, "/events", CLIENTS, heartbeat=heartbeat) as servers:
        for one in servers.values():
            one.call("POST", "/collections")  # those of the start
        for _ in range(WINDOWS):
            for one in servers.values():
                one.call("POST", f"/paced?events={PACED}&rate={RATE}")
                one.receive(PACED)
        found = {which: one.call("POST", "/collections") for which, one in servers.items()}
    millions = WINDOWS * PACED * CLIENTS / 1e6
    ours, original = (
        f"{found[which]['count'] / millions:g}, longest {found[which]['longest']:.0f} ms"
        for which in ("ours", "original")
    )
    what = f"full collections per million deliveries{', heartbeat' if heartbeat else ''}: {SERVERS[server]}"
    return Line(what, "fewer", f"{ours} (the original {original})", found["ours"]["count"] < found["original"]["count"])
