"""Measures every row of the table in README.md: python run.py [--only NAME]."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import resource
import sys
import time

import gc_pauses
import memory
import micro
import servers

ROWS = {
    "constant-time": micro.constant_time,
    "one-broadcast": micro.one_broadcast,
    "formatting": micro.formatting,
    "paced": servers.paced,
    "paced-heartbeat": servers.paced_heartbeat,
    "burst": servers.burst,
    "memory": memory.per_client,
    "gc": gc_pauses.pauses,
    "frames": micro.frames_held,
    "exit": servers.exit_time,
}
NEEDED = ["uvicorn", "uvloop", "httptools"]
DESCRIPTORS = 4096
COLUMNS = "{:<76} {:>8}  {:<68} {}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME", choices=ROWS, help=f"one of: {', '.join(ROWS)}")
    only = parser.parse_args().only

    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return _complain(f"missing: pip install {' '.join(missing)}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < DESCRIPTORS:
        if hard < DESCRIPTORS:
            return _complain(f"{DESCRIPTORS} file descriptors are needed, {hard} are allowed (ulimit -n)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))

    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("fastware", "granian", "uvicorn", "uvloop")]
    print(f"CPython {platform.python_version()}, {', '.join(versions)}, {len(os.sched_getaffinity(0))} cores")
    print(COLUMNS.format("what", "must", "measured", "command"))
    began = time.monotonic()
    failed = False
    for name, measure in ROWS.items():
        if only not in (None, name):
            continue
        command = f"python run.py --only {name}"
        try:
            for line in measure():
                verdict = "  MISSED" if line.met is False else ""
                print(COLUMNS.format(line.what, line.must, line.measured + verdict, command), flush=True)
        except Exception as error:  # the other rows are worth having
            failed = True
            print(COLUMNS.format(name, "", f"FAILED: {error}", command), flush=True)
    print(f"{time.monotonic() - began:.0f} s")
    return int(failed)


def _complain(what: str) -> int:
    print(what, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
