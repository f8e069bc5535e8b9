"""What a backplane costs: a broadcast, an event on its way to three nodes, a client on a node, one that comes back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

from client import Load, open_streams
from common import EVENT, PAYLOAD, make_broadcaster
from contestants import ALONE, Contestant, Kind
from engine import COMMANDS, running_engine
from process import CLIENT_CORE, CORES, SERVER_CORE, Process
from result import Line, at_least, at_most
from running import running
from scale import Scale
from server import Server

from fastware_sse._engine_of import engine_of

NODES = 3
EVENTS = {"redis": 60_000, "nats": 30_000}  # three seconds at the rate that is demanded
RATES = {"redis": 20_000, "nats": 10_000}
NAMES = {"redis": "Redis", "nats": "JetStream"}

CALLS, ROUNDS = 200, 25
DELAY_RATE, DELAY_EVENTS = 500, 2_500
PACED = 50
BEHIND, RETURNING = 50_000, 20


def backplane(scale: Scale) -> list[Line]:
    lines = []
    for engine, command in COMMANDS.items():
        if shutil.which(command[0]) is None:
            lines.append(Line(f"backplane: {NAMES[engine]}", "", "not installed"))
            continue
        lines.append(_broadcast(engine))
        lines.append(_through(engine, scale.storms))
        lines.append(_delay(engine, scale.storms))
        lines.append(_delivery(engine, scale))
        lines.append(_resume(engine))
    return lines


def _node(url: str, number: int = 1) -> Contestant:
    return Contestant(Kind(f"ours: node {number} of a backplane", "backplane_app", which=url, is_ours=True), "uvicorn")


def _stats(server: Server) -> dict[str, Any]:
    return server._call("GET", "/stats")


def _wait_for_contact(server: Server) -> None:
    while _stats(server)["backplane"]["epoch"] is None:
        time.sleep(0.01)


# ---- a broadcast ----


def _broadcast(engine: str) -> Line:
    """Rounds of calls with a backplane, which reads them back meanwhile, and without one, in turn. Nobody listens."""
    costs: dict[bool, list[float]] = {True: [], False: []}
    with running_engine(engine) as server:
        stream = engine_of(server.url).stream(server.url, "bench")
        broadcasters = {True: make_broadcaster("ours", backplane=stream), False: make_broadcaster("ours")}
        for _ in range(ROUNDS):
            for has_one, broadcaster in broadcasters.items():
                start = perf_counter_ns()
                for _ in range(CALLS):
                    broadcaster.broadcast(EVENT, PAYLOAD)
                costs[has_one].append((perf_counter_ns() - start) / CALLS)
                while broadcasters[True].stats()["backplane"]["queued_events"]:
                    time.sleep(0.001)
                time.sleep(0.02)  # what was published is read back
        broadcasters[True].close()
    with_one, without = median(costs[True]), median(costs[False])
    what = f"broadcast() with a healthy backplane over without: {NAMES[engine]}"
    return at_most(what, 3, with_one / without, f"{with_one:,.0f} ns over {without:,.0f} ns")


# ---- events to three nodes ----


def _through(engine: str, rounds: int) -> Line:
    found = [_flood(engine) for _ in range(rounds)]
    rate = median(rate for rate, _ in found)
    of_each = ", ".join(f"{name} {median(costs[name] for _, costs in found):.1f}" for name in found[0][1])
    what = f"events of 120 B a second from one process to {NODES} nodes with a client each: {NAMES[engine]}"
    return at_least(what, RATES[engine], rate, f"us of the processor per event: {of_each}")


def _flood(engine: str) -> tuple[float, dict[str, float]]:
    """Events a second, and what each process used for one."""
    events = EVENTS[engine]
    with running_engine(engine) as server, ExitStack() as stack:
        nodes = stack.enter_context(running([_node(server.url, number) for number in range(NODES)]))
        loads = []
        for node in nodes:
            loads.append(Load(node.url, 1))
            stack.callback(loads[-1].stop)
            node.wait_for_clients(1)
            _wait_for_contact(node)
        for process in (server, *nodes, *loads):
            _unpin(process)
        before = [process.cpu() for process in (server, *nodes)]
        target = [_stats(node)["events"] + events + 1 for node in nodes]
        publisher = Process(_script("backplane_publisher", server.url, events), CORES, output=subprocess.PIPE)
        stack.callback(publisher.stop)
        for node, wanted in zip(nodes, target, strict=True):
            while _stats(node)["events"] < wanted:
                time.sleep(0.05)
        end = time.time_ns()
        used = [process.cpu() - was for process, was in zip((server, *nodes), before, strict=True)]
        output, _ = publisher.process.communicate(timeout=60)
        report = json.loads(output)
        for load in loads:
            summary = load.finish()
            if not summary["ok"] or summary["events"] != events + 1:
                raise RuntimeError(f"{summary['events']} events instead of {events + 1}, {summary['lost']} lost")
    costs = {"publisher": report["cpu"], "server": used[0], "each node": sum(used[1:]) / NODES}
    return events / ((end - report["began"]) / 1e9), {name: cpu / events * 1e6 for name, cpu in costs.items()}


def _unpin(process: Process) -> None:
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), CORES)


def _script(name: str, *arguments: object) -> list[str]:
    return [sys.executable, f"{name}.py", *map(str, arguments)]


# ---- the delay ----


def _delay(engine: str, rounds: int) -> Line:
    """From broadcast() to a client: with a backplane, without, and through the bare client library, in turn."""
    found: dict[str, list[float]] = {"with": [], "without": [], "bare": []}
    with running_engine(engine, CLIENT_CORE) as server:
        for _ in range(rounds):
            for name, one in (("with", _node(server.url)), ("without", Contestant(ALONE, "uvicorn"))):
                with running([one]) as [node]:
                    load = Load(node.url, 1)
                    node.wait_for_clients(1)
                    if name == "with":
                        _wait_for_contact(node)
                    node.paced(DELAY_EVENTS, DELAY_RATE)
                    found[name].append(load.finish()["latency"]["p50"])
                    load.stop()
            bare = Process(
                _script("bare_backplane", server.url, DELAY_EVENTS, DELAY_RATE), SERVER_CORE, output=subprocess.PIPE
            )
            output, _ = bare.process.communicate(timeout=60)
            found["bare"].append(float(output))
    of_backplane, without, bare = (median(delays) * 1e6 for delays in found.values())
    what = f"delay that a backplane adds at {DELAY_RATE}/s, p50, over the client library alone"
    if bare > of_backplane:
        return Line(f"{what}: {NAMES[engine]}", "<= 4", f"not measured, the bare script fell behind: {bare:.0f} us")
    detail = f"{of_backplane:.0f} us less {without:.0f} us without one, over {bare:.0f} us"
    return at_most(f"{what}: {NAMES[engine]}", 4, (of_backplane - without) / bare, detail)


# ---- clients of a node ----


def _delivery(engine: str, scale: Scale) -> Line:
    """Windows of a second for a node, and for a server without a backplane, in turn."""
    found: dict[str, list[float]] = {}
    with running_engine(engine, CLIENT_CORE) as server, ExitStack() as stack:
        contestants = [_node(server.url), Contestant(ALONE, "uvicorn")]
        servers = stack.enter_context(running(contestants))
        for one in servers:
            load = Load(one.url, scale.clients)
            stack.callback(load.stop)
            one.wait_for_clients(scale.clients)
            one.settle()
        _wait_for_contact(servers[0])
        for _ in range(scale.paced_rounds):
            for one in servers:
                before = one.cpu()
                one.paced(PACED, PACED)
                one.settle()
                found.setdefault(one.contestant.name, []).append((one.cpu() - before) / PACED / scale.clients * 1e6)
    on_node, alone = (median(found[one.name]) for one in contestants)
    what = f"server CPU per delivery, paced {PACED}/s to {scale.clients:,} clients, with a backplane over without"
    return at_most(f"{what}: {NAMES[engine]}", 1.05, on_node / alone, f"{on_node:.2f} us over {alone:.2f} us")


# ---- clients that come back ----


def _resume(engine: str) -> Line:
    """Clients come back to a node that keeps nothing itself; its memory is looked at until they have everything."""
    with running_engine(engine, CLIENT_CORE) as server, running([_node(server.url)]) as [node]:
        [stream] = open_streams(node, 1)
        received = b""
        while (first := re.search(rb"id: (\S+)\n", received)) is None:
            received += stream.recv(65536)
        stream.close()
        node.wait_for_clients(0)
        publisher = Process(_script("backplane_publisher", server.url, BEHIND), CLIENT_CORE)
        publisher.process.wait(120)
        node.settle()
        before, start = node.rss(), time.monotonic()
        load = Load(f"{node.url}?last_event_id={first[1].decode()}", RETURNING)
        highest, still, used = before, 0, node.cpu()
        while still < 20:
            time.sleep(0.02)
            highest, now = max(highest, node.rss()), node.cpu()
            still, used = (still + 1, used) if now - used < 0.001 and now > used - 1 else (0, now)
        seconds = time.monotonic() - start
        summary = load.finish()
        if not summary["ok"] or summary["events"] != RETURNING * (BEHIND + 1):
            raise RuntimeError(f"{summary['events']} events instead of {RETURNING * (BEHIND + 1)}")
    each = (highest - before) / RETURNING / 2**20
    what = f"memory of a node for each of {RETURNING} clients that come back {BEHIND:,} events from the server"
    return at_most(f"{what}: {NAMES[engine]}", 4, each, f"MiB; all in {seconds:.1f} s")
