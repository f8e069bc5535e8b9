"""Soak: streams that come and go for long while events are published, and what they leave behind in the server.

python soak.py [--only churn|hour] [--cycles N] [--minutes N]; exit code 1 if a row of the table is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import signal
import statistics
import sys
import time
import traceback
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import uvloop
from soak_clients import TARGETS, WAYS, Way, connected, leave, read_nothing, read_too_little, turns, visit
from soak_server import COMMANDS, HOST, Server, serving

AT_ONCE = 200  # sockets of the churn
SLOWEST = 100  # cycles a second: bounds the churn
WARM_UP = 1000  # cycles

AUDIENCE = 50  # streams of the load client, for the whole hour


class Sample(NamedTuple):
    seconds: float
    rss: float


COLUMNS = "{:<56} {:<28} {}"


class Row(NamedTuple):
    what: str
    must: str
    measured: str
    met: bool


async def churn(name: str, cycles: int) -> AsyncIterator[Row]:
    """As fast as it goes."""
    async with asyncio.timeout(60 + cycles / SLOWEST), serving(name, event_bytes=100) as server:
        before = await _warmed_up(server)
        async with _sampling(server, name) as samples:
            await leave(server.port, itertools.islice(turns(WAYS), cycles), Counter(), at_once=AT_ONCE)
        after = await server.held()
    seconds = samples[-1].seconds
    yield _as_before(f"{name}: after {cycles:,} cycles, {cycles / seconds:,.0f}/s", before, after)
    samples = samples[len(samples) // 10 :]
    # A line, since granian's allocator gives and takes megabytes between one second and the next.
    growth = _slope(samples)[0] * (samples[-1].seconds - samples[0].seconds)
    what = f"{name}: RSS growth after the first tenth"
    yield Row(what, "< 2 MB", f"{growth:+.2f} MB ({_range(samples)})", growth < 2)


async def hour(minutes: float) -> AsyncIterator[Row]:
    """An audience that must miss nothing, among visitors that come back, readers that are too slow, and churn."""
    seconds, name = minutes * 60, f"uvicorn, {minutes:g} minutes"
    async with asyncio.timeout(seconds + 240), serving("uvicorn", event_bytes=1000) as server:
        before = await _warmed_up(server)
        left = Counter[Way]()
        async with _audience(server, seconds) as audience:
            async with asyncio.TaskGroup() as group, _sampling(server, name) as samples:
                clients = [
                    leave(server.port, turns([visit]), left, at_once=20),
                    leave(server.port, turns([read_nothing, read_too_little]), left, at_once=20),
                    leave(server.port, turns(WAYS), left, at_once=10, pause=0.2),
                ]
                tasks = [group.create_task(one) for one in clients]
                await asyncio.sleep(seconds)
                for task in tasks:
                    task.cancel()
            heard = json.loads((await audience.communicate())[0])
        after = await server.held()
    yield _as_before(f"{name}: after {left.total():,} cycles", before, after)
    samples = samples[len(samples) // 6 :]
    slope, half = (3600 * per_second for per_second in _slope(samples))
    measured = f"{slope:+.2f} MB/h (95 %: {slope - half:+.2f} to {slope + half:+.2f}; {_range(samples)})"
    what = f"{name}: RSS slope after the first sixth"
    yield Row(what, "0 within 95 %, or < 1 MB/h", measured, slope - half <= 0 or slope < 1)
    missed = f"{heard['lost']} of {heard['events']:,} events lost, {heard['disconnects']} disconnects"
    yield Row(f"{name}: {AUDIENCE} streams", "all well", missed, heard["ok"] and not heard["disconnects"])
    let_go = left[read_too_little]  # each has seen its end
    yield Row(f"{name}: streams of slow readers that were ended", "some", f"{let_go:,}", let_go > 0)


async def _warmed_up(server: Server) -> dict[str, int]:
    """What the server holds once it has seen every way to leave, and the longest backlog."""
    async with connected(server.port) as one:
        await one.get(TARGETS[0])
        await one.head()
        await server.call("POST", "/burst")
    await leave(server.port, itertools.islice(turns(WAYS), WARM_UP), Counter(), at_once=AT_ONCE)
    return await server.held()


@asynccontextmanager
async def _audience(server: Server, seconds: float) -> AsyncIterator[Process]:
    """The load client, which checks every event."""
    url = f"http://{HOST}:{server.port}{TARGETS[0]}"
    options = ["--json", "--streams", str(AUDIENCE), "--seconds", str(seconds)]
    command = [str(Path(sys.executable).with_name("fastware-sse")), "load", url, *options]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def _sampling(server: Server, name: str) -> AsyncIterator[list[Sample]]:
    """RSS once a second, for as long as the block runs."""
    samples: list[Sample] = []

    async def sample() -> None:
        began = time.monotonic()
        for number in itertools.count():
            samples.append(Sample(time.monotonic() - began, server.rss()))
            if number % 30 == 0:
                print(time.strftime("%H:%M:%S"), f"{name}: RSS {samples[-1].rss:.2f} MB", file=sys.stderr, flush=True)
            await asyncio.sleep(1)

    task = asyncio.create_task(sample())
    try:
        yield samples
    finally:
        task.cancel()


def _slope(samples: Sequence[Sample]) -> tuple[float, float]:
    """By linear regression, and half its confidence interval of 95 %, in MB a second. Neighbouring samples resemble
    each other, which makes the interval narrower than it should be: strict, where it must hold 0."""
    seconds, rss = zip(*samples, strict=True)
    slope, intercept = statistics.linear_regression(seconds, rss)
    unexplained = sum((y - intercept - slope * x) ** 2 for x, y in samples) / (len(samples) - 2)
    return slope, 1.96 * math.sqrt(unexplained / (statistics.pvariance(seconds) * len(samples)))


def _range(samples: Sequence[Sample]) -> str:
    return f"from {samples[0].rss:.1f} to {samples[-1].rss:.1f}, at most {max(one.rss for one in samples):.1f}"


def _as_before(what: str, before: dict[str, int], after: dict[str, int]) -> Row:
    changed = [key for key in before | after if before.get(key) != after.get(key)]
    held = ", ".join(f"{key} {count:,}" for key, count in before.items())
    differs = ", ".join(f"{key} {before.get(key, 0):,} -> {after.get(key, 0):,}" for key in changed)
    return Row(what, "holds what it held before", differs or f"the same: {held}", not changed)


def _runs(only: str | None, cycles: int, minutes: float) -> Iterator[AsyncIterator[Row]]:
    if only in (None, "churn"):
        for name in COMMANDS:
            yield churn(name, cycles)
    if only in (None, "hour"):
        yield hour(minutes)


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["churn", "hour"])
    parser.add_argument(
        "--cycles", type=int, default=300_000, help="of the churn, on each server; 20,000 at least (%(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=60, help="of the hour (%(default)s)")
    options = parser.parse_args()
    # As Ctrl-C: no server is left behind.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
    print(COLUMNS.format("what", "must", "measured"), flush=True)
    failed = False
    for run in _runs(options.only, options.cycles, options.minutes):
        try:
            async for row in run:
                failed |= not row.met
                print(COLUMNS.format(row.what, row.must, row.measured + ("" if row.met else "  MISSED")), flush=True)
        except Exception:  # the other rows are worth having
            failed = True
            traceback.print_exc()
    return int(failed)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # twice as many clients a second
        sys.exit(runner.run(main()))
