"""The load client in C: an engine that holds many streams, and its strict parser. Linux only."""

from collections.abc import Callable
from typing import TypedDict

class Counts(TypedDict, total=False):
    """What run() has counted. Times in ns; `cpu_seconds` (of this thread) only at the end."""

    tried: int
    opened: int
    open: int
    most_open: int
    connects: int
    disconnects: int
    resumes: int
    bytes: int
    events: int
    numbered: int
    lost: int
    duplicates: int
    out_of_order: int
    event_ns: int
    """From the first event to the last."""
    timed: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    max_ns: int
    bad_status: int
    """The latest status other than 200; 0 for none."""
    connect_errno: int
    failures: dict[str, int]
    faults: dict[str, int]
    cpu_seconds: float

def run(
    addresses: list[tuple[str, str]],
    request: bytes,
    *,
    streams: int,
    rate: float,
    seconds: float,
    reconnect: bool,
    seq: bytes,
    ts: bytes,
    progress: Callable[[Counts], object] | None,
) -> Counts:
    """Hold `streams` streams for `seconds` and check what comes on them.

    addresses are numeric (host, port), tried in turn until one accepts. request is a request head without its last,
    empty line. seq and ts are JSON strings with their quotes. progress is called about ten times a second, and the run
    ends when it returns something true; what it raises is raised here, as is KeyboardInterrupt.
    """

def parse(
    pieces: list[bytes], last_event_id: bytes = b"", /
) -> tuple[list[tuple[bytes, bytes, bytes]], bytes, int | None, dict[str, int], bool]:
    """Feed a stream in pieces. Return ([(type, data, last id)], last id, retry, faults by kind, unfinished).

    last_event_id is what an earlier connection left behind. An empty type means "message", and a retry of more than 63
    bits is cut off. Raises ValueError for an event that is too large.
    """

def _alloc_live() -> int:
    """The bytes that streams and engines hold in this process."""
