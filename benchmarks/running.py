"""The servers of a scenario, all at once; which of the contestants this machine has."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import nchan
from contestants import FLOOR_PROGRAM, Contestant
from process import CLIENT_CORE, CORES, HERE
from server import Server


def prepare() -> None:
    """Build and install what is missing."""
    FLOOR_PROGRAM.parent.mkdir(exist_ok=True)
    subprocess.run(
        ["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-o", FLOOR_PROGRAM, HERE / "floor.c"], check=True, timeout=60
    )
    nchan.install()


def is_installed(contestant: Contestant) -> bool:
    return contestant.server != "nginx" or nchan.nginx() is not None


@contextmanager
def running(contestants: Iterable[Contestant]) -> Iterator[list[Server]]:
    """Those of them that are installed, on the servers' core. The harness itself moves to the clients' core."""
    servers: list[Server] = []
    os.sched_setaffinity(0, CLIENT_CORE)
    try:
        for one in filter(is_installed, contestants):
            servers.append(nchan.Nchan(one) if one.server == "nginx" else Server(one))
        yield servers
    finally:
        for server in servers:
            server.stop()
        os.sched_setaffinity(0, CORES)
