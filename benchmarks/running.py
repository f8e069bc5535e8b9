"""The servers of a scenario, all at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import nchan
from contestants import ABSENT, Contestant
from process import CLIENT_CORE, CORES
from server import Server


@contextmanager
def running(contestants: Iterable[Contestant]) -> Iterator[list[Server]]:
    """Those of them that are not absent, on the servers' core. The harness itself moves to the clients' core."""
    servers: list[Server] = []
    os.sched_setaffinity(0, CLIENT_CORE)
    try:
        for one in (one for one in contestants if one.server not in ABSENT):
            servers.append(nchan.Nchan(one) if one.server == "nginx" else Server(one))
        yield servers
    finally:
        for server in servers:
            server.stop()
        os.sched_setaffinity(0, CORES)
