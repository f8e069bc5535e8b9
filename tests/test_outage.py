"""Outages: what is said of them, and the waits between attempts."""

import asyncio
import logging
import time

import pytest
from listening import records

from fastware_sse import _outage
from fastware_sse._outage import Backoff, Outage
from fastware_sse.backplane import BackplaneError


def test_one_outage_lasts_while_anything_fails(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastware_sse")
    outage = Outage("the server")
    outage.end("reading")
    outage.begin("reading", BackplaneError("no answer"))
    since = outage.since
    outage.begin("publishing", BackplaneError("no route"))
    outage.end("reading")
    assert outage.since == since is not None and outage.text == "no route"
    outage.end("publishing")
    outage.end("publishing")
    assert outage.since is None and outage.text is None
    assert records(caplog) == [
        "the server: reading failed, and is tried again until it works: no answer",
        "the server: works again after 0.0 s",
    ]


def test_how_long_it_lasted_is_right_where_the_clock_was_set(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "fastware_sse")
    outage = Outage("the server")
    outage.begin("reading", BackplaneError("no answer"))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    outage.end("reading")
    assert records(caplog)[-1] == "the server: works again after 0.0 s"


def test_waits_between_attempts_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(delay: float) -> None:
        waits.append(delay)

    async def run() -> None:
        backoff = Backoff()
        for _ in range(12):
            await backoff.wait()
        backoff.reset()
        await backoff.wait()

    monkeypatch.setattr(_outage.asyncio, "sleep", sleep)
    asyncio.run(run())
    assert all(wait <= _outage._LONGEST for wait in waits)
    assert waits[11] >= _outage._LONGEST / 2 and waits[-1] <= _outage._SHORTEST
    assert len(set(waits)) == len(waits)
