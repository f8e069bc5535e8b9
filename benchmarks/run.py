"""Measures everything and writes docs/benchmarks.md: python run.py [--only NAME] [--trial]."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

import attached
import backplane
import building
import connections
import deliveries
import exit_time
import history
import lag
import load_client
import many
import memory
import micro
import ordinary
import report
import slow
import stall
import stopped
import threads
from result import Line, Table
from scale import FULL, TRIAL, Scale

DESCRIPTORS = 16_384
COLUMNS = "{:<100} {:>12}  {}"


def measurements(scale: Scale) -> dict[str, Callable[[], list[Line | Table]]]:
    return {
        "constant-time": micro.constant_time,
        "one-broadcast": micro.one_broadcast,
        "formatting": micro.formatting,
        "memory": memory.per_client,
        "frames": micro.frames_held,
        "stall": stall.stall,
        "heartbeats": stall.heartbeats,
        "threads": threads.threads,
        "history": partial(history.history, scale),
        "load-client": partial(load_client.load_client, scale),
        "paced": partial(deliveries.paced, scale),
        "light": partial(deliveries.light, scale),
        "burst": partial(deliveries.burst, scale),
        "yielding": partial(deliveries.yielding, scale),
        "adapters": partial(deliveries.adapters, scale),
        "connections": partial(connections.connections, scale),
        "many": partial(many.many, scale),
        "attached": partial(attached.attached, scale),
        "lag": partial(lag.lag, scale),
        "ordinary": ordinary.ordinary,
        "slow": partial(slow.slow, scale),
        "stopped": partial(stopped.stopped, scale),
        "exit": partial(exit_time.exit_time, scale),
        "backplane": partial(backplane.backplane, scale),
    }


def main() -> int:
    names = ", ".join(measurements(FULL))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME", choices=measurements(FULL), help=f"print this alone: {names}")
    parser.add_argument("--trial", action="store_true", help="small counts, to try the harness; writes nothing")
    options = parser.parse_args()

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < DESCRIPTORS:
        parser.error(f"{DESCRIPTORS} file descriptors are needed, {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the servers too
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the servers are stopped too
    building.prepare()

    began = time.monotonic()
    lines: list[Line] = []
    tables: list[Table] = []
    has_failed = False
    for name, measure in measurements(TRIAL if options.trial else FULL).items():
        if options.only not in (None, name):
            continue
        start = time.monotonic()
        try:
            found = measure()
        except Exception as error:  # the others are worth having
            has_failed = True
            found = [Line(name, "", f"FAILED: {error}", False)]
        for one in found:
            if isinstance(one, Table):
                tables.append(one)
                print(report.table(one))
            else:
                one.command = name
                lines.append(one)
                print(COLUMNS.format(one.what, one.must, one.measured + ("  MISSED" if one.met is False else "")))
        print(f"-- {name}: {time.monotonic() - start:.0f} s", flush=True)
    if not options.only and not options.trial:
        report.write(lines, tables)
    print(f"{time.monotonic() - began:.0f} s")
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
