"""Browsers that are cut off and come back, on real servers: nothing is lost without a word.

Each browser checks every event that it gets: the number in it, its place behind the one before, and the id.
"""

import asyncio
import json
import random
import re
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from client import LIMIT
from resuming import OTHER, Id, hostile_ids, judged
from servers import GRANIAN_UVLOOP, UVICORN, UVICORN_UVLOOP, Kind, Server, reserve_port, running

pytestmark = pytest.mark.e2e

APP = "resume_app"

_ID_ONLY = re.compile(rb"id: ([a-z2-7-]{27})\n\n")
_ID = re.compile(rb"\nid: ([a-z2-7-]{27})\n")
_NUMBER = re.compile(rb"\ndata: (\d+)\n")
_GAP = re.compile(rb"event: gap\ndata: (.*)\n\n")


class Stream(asyncio.Protocol):
    """One connection of a browser."""

    def __init__(self, browser: "Browser") -> None:
        self.browser: Browser | None = browser
        self.transport: Any = None
        self.status: int | None = None
        self.ended = False
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self.status is None and (end := self._received.find(b"\r\n\r\n")) >= 0:
            self.status = int(self._received[9:12])
            del self._received[: end + 2]
        # Each body is a chunk of whole events, so what frames the chunks lies between these.
        if (end := self._received.rfind(b"\n\n")) >= 0:
            part = bytes(self._received[: end + 2])
            del self._received[: end + 2]
            if self.browser is not None:
                self.browser.take(part)
        self.ended = self.ended or self._received.endswith(b"\r\n0\r\n\r\n")
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        if self.browser is not None:
            self.browser.changed.set()


class Browser:
    """An EventSource, as cheap as can be, and the account of what it has got."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.last_id: str | None = None
        self.number: int | None = None  # the last that it knows of; events go on behind it
        self.events = 0
        self.starts = 0
        self.gaps: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.changed = asyncio.Event()
        self.stream: Stream | None = None

    async def connect(self, target: str = "/", head: bytes | None = None) -> Stream:
        self.leave()
        loop = asyncio.get_running_loop()
        _, self.stream = await loop.create_connection(lambda: Stream(self), "127.0.0.1", self.port)
        if head is None:
            head = b"" if self.last_id is None else f"Last-Event-ID: {self.last_id}\r\n".encode()
        self.stream.transport.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n".encode() + head + b"\r\n")
        return self.stream

    def leave(self) -> None:
        """RST, if anything has not been read."""
        if self.stream is not None:
            self.stream.browser = None
            self.stream.transport.abort()
            self.stream = None

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def begin(self) -> None:
        """Connect, and wait for the id that the stream begins with."""
        starts = self.starts
        await self.connect()
        await self.until(lambda: self.starts > starts)

    async def reads(self, number: int) -> None:
        """So many events more, on as many connections as that takes."""
        count = self.events + number
        while self.events < count:
            await self.until(lambda: self.events >= count or self.stream.ended)
            if self.stream.ended:
                await self.connect()

    def take(self, part: bytes) -> None:
        """Whole events."""
        if gaps := _GAP.findall(part):
            self.gaps += map(json.loads, gaps)
            self.number = None
        if start := _ID_ONLY.search(part):
            self.starts += 1
            self.last_id = start[1].decode()
            position = Id.parse(self.last_id).position
            if self.number not in (None, position):
                self.faults.append(f"goes on behind {position} instead of {self.number}")
            self.number = position
        numbers = [int(number) for number in _NUMBER.findall(part)]
        if not numbers:
            return
        if self.number is None or numbers != list(range(self.number + 1, self.number + 1 + len(numbers))):
            self.faults.append(f"{numbers[:3]}...{numbers[-3:]} behind {self.number}")
        self.number = numbers[-1]
        self.events += len(numbers)
        self.last_id = _ID.findall(part)[-1].decode()
        if Id.parse(self.last_id).position != self.number:
            self.faults.append(f"{self.number} carries {self.last_id}")


def options(**keywords: Any) -> dict[str, str]:
    return {"BROADCASTER": json.dumps(keywords)}


async def ask(server: Server, **what: Any) -> dict[str, int]:
    return await server.request("POST", "/", what)


async def all_begin(browsers: list[Browser]) -> None:
    for start in range(0, len(browsers), 100):
        await asyncio.gather(*(browser.begin() for browser in browsers[start : start + 100]))


async def all_have(browsers: list[Browser], number: int) -> None:
    for browser in browsers:
        await browser.until(lambda browser=browser: browser.number == number)
        assert browser.faults == []


each = pytest.mark.parametrize("kind", [UVICORN_UVLOOP, GRANIAN_UVLOOP], ids=str)


@each
async def test_a_storm_of_reconnects_loses_and_repeats_nothing(kind: Kind) -> None:
    """Cut by the browser, after any number of events, and by the server, which lets no stream live for a second."""
    number, kicks = 500, 20
    async with running(kind, APP, **options(history=100_000, buffer_size=2000, max_age=1)) as server:
        browsers = [Browser(server.port) for _ in range(number)]
        await all_begin(browsers)
        await ask(server, flow=200)

        async def live(browser: Browser, dice: random.Random) -> None:
            for _ in range(kicks):
                await browser.reads(dice.choice([0, 1, 5, 30]))
                await browser.connect()
            await browser.begin()

        async with asyncio.TaskGroup() as group:
            for seed, browser in enumerate(browsers):
                group.create_task(live(browser, random.Random(seed)))
        last = (await ask(server, stop=True))["number"]
        for browser in browsers:
            if browser.number != last:  # its stream may have ended by age
                await browser.begin()
        await all_have(browsers, last)
        assert [browser.gaps for browser in browsers] == [[]] * number
        counts = await ask(server)
        assert counts["resumed"] >= number * kicks / 2  # some were cut before the server saw them
        assert counts["pruned"] == sum(counts[f"gaps_{reason}"] for reason in ("evicted", "epoch", "future")) == 0
        for browser in browsers:
            browser.leave()
        server.assert_no_complaint()


@each
async def test_after_a_restart_everybody_is_told_once(kind: Kind) -> None:
    with reserve_port() as holder:
        port = holder.getsockname()[1]
        quiet, busy = ([Browser(port) for _ in range(20)] for _ in range(2))
        async with running(kind, APP, port, **options(history=100)) as server:
            await all_begin(busy)
            await ask(server, publish=5)
            await all_have(busy, 5)
            await all_begin(quiet)  # these have had no event
            assert {browser.events for browser in quiet} == {0}
        async with running(kind, APP, port, **options(history=100)) as server:
            await ask(server, publish=3)
            old = [browser.last_id for browser in quiet + busy]
            await all_begin(quiet + busy)
            await all_have(quiet + busy, 3)
            for browser, last_id in zip(quiet + busy, old, strict=True):
                assert browser.gaps == [{"reason": "epoch", "last_event_id": last_id}]
            await all_begin(quiet + busy)
            await ask(server, publish=1)
            await all_have(quiet + busy, 4)
            assert {len(browser.gaps) for browser in quiet + busy} == {1}
            for browser in quiet + busy:
                browser.leave()
            server.assert_no_complaint()


def _two_workers(kind: Kind) -> Kind:
    return Kind(f"{kind.name}-2-workers", [*kind.command, "--workers", "2"])


@pytest.mark.parametrize("kind", [_two_workers(UVICORN), _two_workers(GRANIAN_UVLOOP)], ids=str)
async def test_who_lands_on_a_sibling_worker_is_told(kind: Kind) -> None:
    async with running(kind, APP, **options(history=100)) as server:
        browser = Browser(server.port)
        await browser.begin()
        moves = 0
        start = time.monotonic()
        while moves < 3:
            assert time.monotonic() - start < LIMIT, "one worker alone answers"
            epoch, gaps = Id.parse(browser.last_id).epoch, len(browser.gaps)
            # Others wait at the same time, so that the other worker takes a connection too.
            others = [Browser(server.port) for _ in range(8)]
            await asyncio.gather(browser.begin(), *(other.begin() for other in others))
            moved = Id.parse(browser.last_id).epoch != epoch
            assert [gap["reason"] for gap in browser.gaps[gaps:]] == ["epoch"] * moved
            moves += moved
            for other in others:
                assert other.gaps == []
                other.leave()
        assert browser.faults == []
        browser.leave()


@each
async def test_a_client_that_replays_a_hundred_thousand_beside_live_ones(kind: Kind) -> None:
    most, behind = 120_000, 100_000
    async with running(kind, APP, **options(history=most, buffer_size=5000)) as server:
        late = Browser(server.port)
        await late.begin()
        late.leave()
        await server_is_empty(server)
        for _ in range(10):
            await ask(server, publish=behind // 10)
        live = [Browser(server.port) for _ in range(99)]
        await all_begin(live)
        await ask(server, flow=1000)
        await live[0].until(lambda: live[0].events > 100)
        await late.begin()
        await late.until(lambda: late.number >= live[0].number > behind)
        await live[0].until(lambda: live[0].events > 2000)
        counts = await ask(server, stop=True)
        assert counts["log_events"] <= most + 5000
        await all_have([late, *live], counts["number"])
        assert late.starts == 2, "it has come back once"
        assert late.events == counts["number"]
        assert (late.gaps, counts["resumed"], counts["pruned"]) == ([], 1, 0)
        for browser in [late, *live]:
            browser.leave()
        server.assert_no_complaint()


# What a server takes in a head: no other control character, and not too much.
_IN_HEAD = re.compile(rb"[\x21-\x7e\x80-\xff]+")


@each
async def test_a_thousand_hostile_ids_are_never_an_error(kind: Kind) -> None:
    async with running(kind, APP, **options(history=100)) as server:
        await ask(server, publish=3)
        first = Browser(server.port)
        await first.begin()
        begin = Id.parse(first.last_id)
        first.leave()
        good, gate = str(begin.at(1)).encode(), asyncio.Semaphore(20)

        async def attack(last_id: bytes, target: str, head: bytes) -> None:
            reason = judged(begin, last_id, head=3)
            browser = Browser(server.port)
            browser.last_id = "the old one"
            async with gate:
                stream = await browser.connect(target, head)
                await browser.until(lambda: browser.number == 3 or stream.ended)
            assert stream.status == 200, last_id
            echoed = None if reason in (None, "invalid") else last_id.decode()
            expected = [] if reason is None else [{"reason": reason, "last_event_id": echoed}]
            assert (browser.gaps, browser.faults) == (expected, []), last_id
            browser.leave()

        async with asyncio.TaskGroup() as group:
            for number, last_id in enumerate(hostile_ids(begin)):
                last_id = last_id[:20_000]
                if number % 2 and _IN_HEAD.fullmatch(last_id):
                    group.create_task(attack(last_id, f"/?last_event_id={OTHER}", b"Last-Event-ID: %b\r\n" % last_id))
                else:
                    target = f"/?last_event_id={urllib.parse.quote_from_bytes(last_id[:9_000])}"
                    group.create_task(attack(last_id[:9_000], target, b""))
            twice = b"Last-Event-ID: %b\r\n" % good
            group.create_task(attack(good + b", " + good, "/", twice + twice))
            group.create_task(attack(good + b", " + good, f"/?last_event_id={begin}", twice + twice))
            group.create_task(attack(good, f"/?last_event_id={OTHER}", twice))
            group.create_task(attack(good, f"/?last_event_id={begin.at(1)}", b"Last-Event-ID: \r\n"))
        await server_is_empty(server)
        server.assert_no_complaint()


async def server_is_empty(server: Server) -> None:
    async with asyncio.timeout(LIMIT):
        while (await ask(server))["connected"]:
            await asyncio.sleep(0.01)
