"""Two publishing processes, three nodes, 150 browsers, 20,000 events: one order for all, nothing lost, nothing twice;
whatever happens to the server behind them, and to the nodes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from audience import Browser, assert_one_order, audience
from engines import Engine, Proxy, nats_server, proxy, redis_server
from servers import UVICORN_UVLOOP, Server, running, running_script

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

NODES = 3
BROWSERS = 150
EVENTS = 20_000
RATE = 2_000  # events per second
LIMIT = 90  # seconds for all of them to arrive, on a machine that does other things too

ENGINES = {"redis": redis_server, "nats": nats_server}


@contextlib.asynccontextmanager
async def nodes(url: str, number: int = NODES) -> AsyncIterator[list[Server]]:
    environment = {"ENGINE": url, "BROADCASTER": '{"history": 1000}'}
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running(UVICORN_UVLOOP, "node", **environment)) for _ in range(number)]


async def publish(url: str, rate: float = RATE) -> dict[str, int]:
    """By two processes, which exit when they have."""
    half = EVENTS // 2
    async with contextlib.AsyncExitStack() as stack:
        scripts = [
            await stack.enter_async_context(running_script("node", [name, half, rate / 2], ENGINE=url)) for name in "ab"
        ]
        for script in scripts:
            assert await script.exit_code(LIMIT) == 0 and "lost" not in script.log, script.log
    return {"a": half, "b": half}


class Scene(NamedTuple):
    engine: Engine
    proxy: Proxy  # between the engine and its clients
    servers: list[Server]
    browsers: list[Browser]

    async def has_come_to(self, number: int, browser: int = 0) -> None:
        await self.browsers[browser].has(number)


Trouble = Callable[[Scene], Awaitable[None]]


async def nothing(scene: Scene) -> None:
    """The plain case."""


async def killed(scene: Scene) -> None:
    """The server, twice."""
    for number in (EVENTS // 5, EVENTS // 2):
        await scene.has_come_to(number)
        await asyncio.to_thread(scene.engine.kill)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(scene.engine.start)


async def stopped(scene: Scene) -> None:
    """The server, for 10 s."""
    await scene.has_come_to(EVENTS // 5)
    scene.engine.freeze()
    await asyncio.sleep(10)
    scene.engine.thaw()


async def cut(scene: Scene) -> None:
    """All connections to the server, every second."""
    while scene.browsers[0].count < EVENTS:
        await asyncio.sleep(1)
        scene.proxy.cut()


async def moved(scene: Scene) -> None:
    """Two of the nodes are killed, so that their browsers go on at another."""
    for at, number in enumerate((EVENTS // 5, EVENTS // 2)):
        await scene.has_come_to(number, browser=at)
        await scene.servers[at].kill()


@pytest.mark.parametrize("trouble", [nothing, killed, stopped, cut, moved], ids=lambda trouble: trouble.__name__)
@pytest.mark.parametrize("kind", ENGINES)
async def test_one_order_for_all(kind: str, trouble: Trouble, tmp_path: Path) -> None:
    with ENGINES[kind](tmp_path) as engine:
        async with proxy(engine) as between, nodes(between.url if trouble is cut else engine.url) as servers:
            browsers = await audience(BROWSERS, [server.port for server in servers])
            happening = asyncio.create_task(trouble(Scene(engine, between, servers, browsers)))
            try:
                publishers = await publish(between.url if trouble is cut else engine.url)
                await asyncio.gather(*(browser.has(EVENTS, LIMIT) for browser in browsers))
                await happening
            finally:
                happening.cancel()
                for browser in browsers:
                    browser.leave()
            assert_one_order(browsers, publishers)
            for server in servers:
                server.assert_no_complaint()
            # That it has happened at all.
            away = ["is tried again until it works" in server.log for server in servers]
            assert away == [trouble in (killed, stopped, cut)] * NODES
            moves = [browser.connections > 1 for browser in browsers]
            assert all(moves[:2]) if trouble is moved else not any(moves)


@pytest.mark.parametrize("kind", ENGINES)
async def test_a_storm_of_those_who_come_back_from_far(kind: str, tmp_path: Path) -> None:
    """A node that starts empty serves them from the server, by reads that they share."""
    with ENGINES[kind](tmp_path) as engine:
        async with nodes(engine.url, 2) as [first, second]:
            [witness] = await audience(1, [first.port])
            begin = witness.last_id
            publishers = await publish(engine.url, rate=EVENTS)
            await witness.has(EVENTS)
            late = [Browser([second.port], keeps=at == 0) for at in range(BROWSERS)]
            for browser in late:
                browser.last_id = begin
            await asyncio.gather(*(browser.connect() for browser in late))
            await asyncio.gather(*(browser.has(EVENTS, LIMIT) for browser in late))
            for browser in [witness, *late]:
                browser.leave()
            assert_one_order([witness, *late], publishers)
            assert max(browser.connections for browser in late) == 1
            stats = await second.request("POST", "/", {})
            # Each page is one of a few hundred entries, for all of them.
            assert stats["pages"] < 3 * EVENTS / 256
            second.assert_no_complaint()
