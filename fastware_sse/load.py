"""`fastware-sse load`: hold many streams of one server and check every event. The work is done in C (csrc/load)."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from ._report import Progress, summary, text

if TYPE_CHECKING:
    from ._load import Counts

_DESCRIPTION = """\
Open streams of a text/event-stream URL, hold them, and check every event: framing, and loss, duplicates and order by a
sequence number in the data. Exit code: 0 all well; 1 loss, duplicates, disorder, parse errors, or a stream that could
not be opened; 2 wrong usage."""


def _whole(value: str) -> int:
    number = int(value)
    if not 1 <= number <= 1_000_000:
        raise ValueError
    return number


def _positive(value: str) -> float:
    number = float(value)
    if not (math.isfinite(number) and 0 < number <= 1e9):
        raise ValueError
    return number


_whole.__name__, _positive.__name__ = "number from 1 to 1000000", "number above 0"  # argparse names them in its message


def add_command(commands: Any) -> None:
    """Add the subcommand to what argparse's add_subparsers() returned."""
    parser = commands.add_parser("load", help="hold streams and check every event", description=_DESCRIPTION)
    parser.add_argument("url", metavar="URL", help="http:// only")
    parser.add_argument("-n", "--streams", type=_whole, default=100, help="how many (%(default)s)")
    parser.add_argument("--seconds", type=_positive, default=10.0, help="for the whole run (%(default)g)")
    parser.add_argument("--rate", type=_positive, default=2000.0, help="connects a second, at most (%(default)g)")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="to send; repeatable")
    parser.add_argument(
        "--reconnect",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="open a stream again that the server ended, with its last id (as browsers do)",
    )
    parser.add_argument("--seq", metavar="KEY", default="seq", help="JSON key of the sequence number (%(default)s)")
    parser.add_argument("--ts", metavar="KEY", default="ts", help="JSON key of the time sent (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--i-own-this-host", action="store_true", help="the target may be other than loopback")
    parser.set_defaults(run=lambda options: run(parser, options))


@contextmanager
def _stopped_by_signals() -> Iterator[list[int]]:
    """Signals that ask to stop are noted in the list, instead of ending the process."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Do it, print the summary, return the exit code."""
    if sys.platform != "linux":
        parser.error("the load client needs Linux (epoll)")
    from . import _load, _target

    try:
        target = _target.parse_url(options.url)
        addresses = _target.resolve(target)
        request = _target.request_head(target, options.header)
    except ValueError as error:
        parser.error(str(error))
    foreign = [host for host, _ in addresses if not _target.is_loopback(host)]
    if foreign and not options.i_own_this_host:
        parser.error(f"{target.host} is {foreign[0]}, not this machine; if it is yours to load, say --i-own-this-host")
    streams = min(options.streams, _target.raise_file_limit())
    if streams == 0:
        parser.error("the limit of open files leaves no room for a stream")

    progress = Progress(options.seconds)
    start = time.monotonic()
    with _stopped_by_signals() as signals:

        def tick(counts: Counts) -> bool:
            progress.show(counts, time.monotonic() - start)
            return bool(signals)

        try:
            counts = _load.run(
                addresses[:16],
                request,
                streams=streams,
                rate=options.rate,
                seconds=options.seconds,
                reconnect=options.reconnect,
                seq=_json_string(options.seq),
                ts=_json_string(options.ts),
                progress=tick,
            )
        finally:
            progress.clear()
    result = summary(
        counts,
        url=options.url,
        asked=options.streams,
        streams=streams,
        elapsed=time.monotonic() - start,
        is_interrupted=bool(signals),
    )
    print(json.dumps(result) if options.json else text(result))
    return 0 if result["ok"] else 1


def _json_string(key: str) -> bytes:
    return json.dumps(key, ensure_ascii=False).encode("utf-8", "surrogateescape")
