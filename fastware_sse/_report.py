"""What the load client tells people: the progress bar, the summary as a dict and as text, the verdict."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._load import Counts

_BAR = 24  # characters


class Progress:
    """One line on stderr, rewritten; nothing where that is no terminal."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_shown = sys.stderr.isatty()

    def show(self, counts: Counts, elapsed: float) -> None:
        if not self._is_shown:
            return
        filled = min(_BAR, int(elapsed / self._seconds * _BAR))
        bad = counts["lost"] + counts["duplicates"] + counts["out_of_order"] + sum(counts["faults"].values())
        line = (
            f"[{'#' * filled}{'.' * (_BAR - filled)}] {elapsed:.1f}/{self._seconds:g} s  open {counts['open']:,}"
            f"  events {counts['events']:,} ({_rate(counts):,.0f}/s)  wrong {bad:,}"
        )
        sys.stderr.write(f"\r\x1b[K{line[: _columns() - 1]}")
        sys.stderr.flush()

    def clear(self) -> None:
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def _rate(counts: Counts) -> float:
    """Events a second, from the first event to the last."""
    return counts["events"] / counts["event_ns"] * 1e9 if counts["event_ns"] else 0.0


def summary(
    counts: Counts, *, url: str, asked: int, streams: int, elapsed: float, is_interrupted: bool
) -> dict[str, Any]:
    """What --json prints; docs/load.md explains each key."""
    latency = {name: counts[f"{name}_ns"] / 1e9 for name in ("p50", "p90", "p99", "max")}  # type: ignore[literal-required]
    parse_errors = sum(counts["faults"].values())
    wrong = counts["lost"] + counts["duplicates"] + counts["out_of_order"] + parse_errors
    return {
        "url": url,
        "asked": asked,
        "streams": streams,
        "seconds": round(elapsed, 3),
        "interrupted": is_interrupted,
        "tried": counts["tried"],
        "opened": counts["opened"],
        "open_at_end": counts["open"],
        "most_open": counts["most_open"],
        "connects": counts["connects"],
        "failed_connects": sum(counts["failures"].values()),
        "failures": _failures(counts),
        "disconnects": counts["disconnects"],
        "resumes": counts["resumes"],
        "events": counts["events"],
        "events_per_second": round(_rate(counts), 1),
        "bytes": counts["bytes"],
        "cpu_seconds": round(counts["cpu_seconds"], 3),
        "numbered": counts["numbered"],
        "lost": counts["lost"],
        "duplicates": counts["duplicates"],
        "out_of_order": counts["out_of_order"],
        "parse_errors": parse_errors,
        "parse_error_kinds": counts["faults"],
        "latency": {"events": counts["timed"], **latency} if counts["timed"] else None,
        "ok": wrong == 0 and _has_opened_all(counts, asked, is_interrupted),
    }


def _has_opened_all(counts: Counts, asked: int, is_interrupted: bool) -> bool:
    """Every stream, and those that failed later are there again."""
    wanted = counts["tried"] if is_interrupted else asked
    came_back = counts["open"] == counts["opened"] or not counts["failures"]
    return 0 < wanted == counts["tried"] == counts["opened"] and came_back


def _failures(counts: Counts) -> dict[str, int]:
    """The kinds of failed connects, with the latest errno or status of those that have one."""
    details = {
        "no connection": os.strerror(counts["connect_errno"]) if counts["connect_errno"] else "",
        "status not 200": str(counts["bad_status"]) if counts["bad_status"] else "",
    }
    return {
        f"{kind} ({details[kind]})" if details.get(kind) else kind: number
        for kind, number in counts["failures"].items()
    }


def _duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"


def _kinds(kinds: dict[str, int]) -> str:
    return ", ".join(f"{kind}: {number:,}" for kind, number in kinds.items())


def text(result: dict[str, Any]) -> str:
    """The summary for people."""
    limited = (
        f" of {result['asked']:,} asked for: the limit of open files" if result["streams"] < result["asked"] else ""
    )
    failures = f" ({_kinds(result['failures'])})" if result["failures"] else ""
    checked = (
        f"{result['numbered']:,} numbered: lost {result['lost']:,}, duplicates {result['duplicates']:,}, "
        f"out of order {result['out_of_order']:,}"
        if result["numbered"]
        else "no sequence numbers in the data, so no check for loss"
    )
    rows = [
        ("streams", f"{result['streams']:,}{limited}"),
        ("opened", f"{result['opened']:,}; most at one time {result['most_open']:,}"),
        ("connects", f"{result['connects']:,}; failed {result['failed_connects']:,}{failures}"),
        ("ended", f"{result['disconnects']:,} by the server; resumed {result['resumes']:,}"),
        ("events", f"{result['events']:,}, {result['events_per_second']:,.0f}/s; {result['bytes'] / 1e6:,.1f} MB"),
        ("order", checked),
        ("framing", f"{result['parse_errors']:,} errors ({_kinds(result['parse_error_kinds']) or 'none'})"),
    ]
    if result["latency"]:
        values = ", ".join(f"{name} {_duration(result['latency'][name])}" for name in ("p50", "p90", "p99", "max"))
        rows.append(("latency", f"{values} ({result['latency']['events']:,} events)"))
    rows.append(("client", f"{result['cpu_seconds']:.2f} s of CPU in {result['seconds']:.1f} s"))
    rows.append(("result", ("ok" if result["ok"] else "NOT OK") + (", interrupted" if result["interrupted"] else "")))
    return "\n".join([result["url"], *(f"  {name:<9} {value}" for name, value in rows)])
