"""What a history costs: each broadcast, each event that is kept, each client that comes back."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from statistics import median
from time import perf_counter_ns
from typing import Any

from client import Load, open_streams
from common import EVENT, PAYLOAD, Clients, make_broadcaster
from contestants import HISTORY, Contestant
from result import Line, at_most
from running import running
from scale import Scale
from server import Server

from fastware_sse import _core

LONG = 100_000  # events
CALLS, ROUNDS = 200, 25

FAR, NEAR = 10_000, 10  # events behind the head
JOINS = 2_000

BEHIND = 1_000  # events


def history(scale: Scale) -> list[Line]:
    return [asyncio.run(_broadcast()), asyncio.run(_join()), _memory(), *_replay(scale)]


async def _broadcast() -> Line:
    """Rounds of calls to one parked client, with a full history and without one, in turn."""
    groups = {size: Clients(make_broadcaster("ours", buffer_size=0, history=size)) for size in (0, LONG)}
    for _ in range(LONG):
        groups[LONG].broadcaster.broadcast(EVENT, PAYLOAD)
    costs: dict[int, list[float]] = {size: [] for size in groups}
    for clients in groups.values():
        await clients.start(1)
        await asyncio.sleep(0.01)
    for _ in range(ROUNDS):
        for size, clients in groups.items():
            before = clients.received
            start = perf_counter_ns()
            for _ in range(CALLS):
                clients.broadcaster.broadcast(EVENT, PAYLOAD)
            costs[size].append((perf_counter_ns() - start) / CALLS)
            await clients.parked(before + CALLS)
    for clients in groups.values():
        await clients.stop()
    with_history, without = median(costs[LONG]), median(costs[0])
    what = f"broadcast() with a history of {LONG:,} events over without"
    return at_most(what, 1.3, with_history / without, f"{with_history:,.0f} ns over {without:,.0f} ns")


async def _join() -> Line:
    """Registrations of clients that come back, far and near behind the head in turn: no event is read."""
    broadcaster = make_broadcaster("ours", history=FAR + NEAR)
    ids = []
    for number in range(FAR + NEAR):
        if number in (NEAR, FAR):  # so many events follow the id
            ids.append(_id_now(broadcaster))
        broadcaster.broadcast(EVENT, PAYLOAD)
    costs: list[list[int]] = [[], []]
    loop = asyncio.get_running_loop()
    for _ in range(JOINS):
        for found, last_id in zip(costs, ids, strict=True):
            subscription = broadcaster._subscribe()
            start = perf_counter_ns()
            subscription.join(loop, last_id)
            found.append(perf_counter_ns() - start)
            assert subscription.start == "resumed"
            subscription.close()
    far, near = map(median, costs)
    what = f"joining {FAR:,} events back over {NEAR} back, up to the registration"
    return at_most(what, 2, far / near, f"{far:,.0f} ns over {near:,.0f} ns")


def _id_now(broadcaster: Any) -> bytes:
    subscription = broadcaster._subscribe()
    subscription.join(asyncio.get_running_loop())
    last_id = subscription.id.encode()
    subscription.close()
    return last_id


def _memory() -> Line:
    """What the core's allocations have asked for, over the text of the events."""
    gc.collect()
    before = _core._alloc_live()
    broadcaster = make_broadcaster("ours", history=LONG)
    for _ in range(LONG + 1):
        broadcaster.broadcast(EVENT, PAYLOAD)
    stats = broadcaster.stats()
    assert stats["history_events"] == LONG
    beside = (_core._alloc_live() - before - stats["history_bytes"]) / LONG
    what = f"memory of a history of {LONG:,} events beside their text, for each event"
    return at_most(what, 96, beside, "bytes asked of malloc, which adds up to 16")


# ---- clients that come back ----


def _replay(scale: Scale) -> list[Line]:
    """A burst to connected clients; then as many that come back behind it, and that come back with nothing missed."""
    live, replayed, connected = [], [], []
    with running([Contestant(HISTORY, "uvicorn")]) as [server]:
        _come_back(server, scale.clients, _last_id(server))  # a first time warms up
        for _ in range(scale.burst_rounds):
            old = _last_id(server)
            live.append(_burst(server, scale.clients))
            replayed.append(_come_back(server, scale.clients, old, BEHIND))
            connected.append(_come_back(server, scale.clients, _last_id(server)))
    events = BEHIND * scale.clients
    one_live, one_replayed, connect = (median(found) / events * 1e6 for found in (live, replayed, connected))
    net = one_replayed - connect
    what = f"{scale.clients:,} clients come back, each {BEHIND:,} events behind: server CPU per event over a live one's"
    return [
        at_most(
            f"{what}, connects not counted", 1.0, net / one_live, f"{net * 1000:.0f} ns over {one_live * 1000:.0f} ns"
        ),
        Line(
            f"{what}, connects and all",
            "",
            f"{one_replayed / one_live:.2f} (a connect is {connect * BEHIND:.0f} us, the events behind it "
            f"{net * BEHIND:.0f} us)",
        ),
    ]


def _last_id(server: Server) -> str:
    """The id that a newcomer gets first."""
    [stream] = open_streams(server, 1)
    received = b""
    while (found := re.search(rb"id: (\S+)\n", received)) is None:
        received += stream.recv(65536)
    stream.close()
    server.wait_for_clients(0)
    return found[1].decode()


def _burst(server: Server, clients: int) -> float:
    """Seconds of the server's processor."""
    load = Load(server.url, clients)
    try:
        server.wait_for_clients(clients)
        server.settle()
        before = server.cpu()
        server.burst(BEHIND)
        server.settle()
        used = server.cpu() - before
        _check(load, clients * BEHIND)
    finally:
        load.stop()
    server.wait_for_clients(0)
    return used


def _come_back(server: Server, clients: int, last_id: str, events: int = 0) -> float:
    server.settle()
    before = server.cpu()
    load = Load(f"{server.url}?last_event_id={last_id}", clients)
    try:
        while server.cpu() - before < 0.001:  # the client itself has to start first
            time.sleep(0.001)
        server.wait_for_clients(clients)
        server.settle()
        used = server.cpu() - before
        _check(load, clients * events)
    finally:
        load.stop()
    server.wait_for_clients(0)
    return used


def _check(load: Load, events: int) -> None:
    summary = load.finish()
    if not summary["ok"] or summary["events"] != events:
        raise RuntimeError(f"{summary['events']} events instead of {events}, {summary['lost']} lost")
