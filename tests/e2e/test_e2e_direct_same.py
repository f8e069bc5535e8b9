"""Whether C writes a stream or the server does, it is the same stream: the same bytes, hooks, reasons and counts."""

import asyncio
import re
from typing import Any

import pytest
from client import Response
from fastware import Router, create_app
from hub import OPENING, Hub, frame, numbers, saw
from in_process import PAIRS, Site, serving, until
from resuming import OTHER
from servers import DIRECT, UVICORN, UVICORN_UVLOOP, Kind, running

from fastware_sse import Broadcaster
from fastware_sse._client import Client

each_pair = pytest.mark.parametrize(("loop", "http"), PAIRS)

INITIAL = [("hello", {"number": 1}), ("hello", "two\nlines")]
LARGE = "." * 5000


class Life:
    """What some clients live through one after the other, and the account of it, without the ids of this process."""

    def __init__(self, site: Site, direct: bool) -> None:
        self.site = site
        self.direct = direct
        self.told: list[object] = []
        self.account: list[object] = []

    def begin(self, buffer_size: int = 256, **options: Any) -> None:
        hooks = {"on_connect": self.connected, "on_disconnect": self.disconnected}
        self.site.broadcaster = Broadcaster(buffer_size, strict=False, **hooks, **options)

    def connected(self, client: Client) -> None:
        self.told.append(("connected", client.resume))

    def disconnected(self, client: Client) -> None:
        self.told.append((client.reason, client.events, client.bytes, client.resume))

    async def open(self, last_id: str = "") -> Response:
        headers = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        connected = self.site.broadcaster.client_count
        stream = (await self.site.connect()).send("GET", "/", headers=headers)
        await self.site.until(connected=connected + 1)
        if self.direct:
            await self.site.until(direct=connected + 1)
        return stream

    async def over(self, *streams: Response) -> None:
        """They have ended or left; write down what there was."""
        told = len(self.account) + 2 * len(streams)
        await until(lambda: len(self.told) >= told, lambda: self.told)
        for stream in streams:
            body = stream.body.removeprefix(OPENING)
            self.account += [re.sub(rb"[a-z2-7]{13}-", b"", body), (stream.status, stream.complete)]
            stream.connection.close()

    def result(self) -> list[object]:
        stats = self.site.broadcaster.stats()
        del stats["direct"]
        return [*self.told, *self.account, stats]


def ids(stream: Response) -> list[str]:
    return [found.decode() for found in re.findall(rb"id: (\S+)\n", stream.body)]


async def come_and_go(life: Life) -> None:
    life.begin(history=10, retry=2.5)
    site = life.site
    site.options = {"initial": INITIAL}
    first = await life.open()
    site.broadcast(*range(5))
    await saw([first], "4")
    first.connection.close()
    await life.over(first)
    back = await life.open(ids(first)[-3])
    await saw([back], "4")
    site.broadcast(5, 6)
    await saw([back], "6")
    back.connection.reset()
    await life.over(back)
    site.broadcast(*range(7, 30))
    last = "29"
    for number, last_id in enumerate((ids(first)[0], OTHER, "no id"), 30):
        late = await life.open(last_id)
        await saw([late], last)
        last = str(number)
        site.broadcast(last)
        await saw([late], last)
        late.connection.close()
        await life.over(late)


async def get_old(life: Life) -> None:
    life.begin(history=10, max_age=1)
    stream = await life.open()
    life.site.broadcast(0, 1)
    await stream.end()
    await life.over(stream)
    life.site.broadcast(2, 3)
    stream = await life.open(ids(stream)[-1])
    await stream.end()
    await life.over(stream)


async def be_closed(life: Life) -> None:
    life.begin(heartbeat_interval=100)
    streams = [await life.open() for _ in range(3)]
    life.site.broadcast(*range(100))
    life.site.broadcaster.close()
    for stream in streams:
        await stream.end()
    await life.over(*streams)
    late = await (await life.site.connect()).send("GET", "/").end()
    late.connection.close()
    await life.over(late)


LIVES = [come_and_go, get_old, be_closed]


def in_fastware(site: Site) -> None:
    router = Router()

    @router.get("/")
    async def events(request: Any) -> Any:
        return await site.broadcaster.stream(request, site.options.get("initial"))

    site.app = create_app(router)


@each_pair
@pytest.mark.parametrize("live", LIVES)
@pytest.mark.parametrize("framework", ["none", "fastware"])
async def test_the_same_stream_on_both_ways(loop: str, http: str, framework: str, live: Any) -> None:
    async def result(site: Site, direct: bool) -> list[object]:
        if framework == "fastware":
            in_fastware(site)
        life = Life(site, direct)
        await live(life)
        await site.until(connected=0)
        return life.result()

    with serving(loop, http) as ours, serving(loop, http, direct=False) as stock:
        one, other = await asyncio.gather(result(ours, True), result(stock, False))
    assert one == other


@each_pair
async def test_the_reasons_of_those_who_cannot_follow(loop: str, http: str) -> None:
    """How much a socket takes before that is the kernel's business; what they were sent is told all the same."""
    with serving(loop, http, send_buffer=8192) as site:
        life = Life(site, direct=True)
        for buffer_size, reason in ((20, "pruned"), (0, "send_timeout")):
            life.begin(buffer_size)
            site.options = {"send_timeout": 1.0}
            [stuck, reading] = [await site.open_stuck(), *await site.open()]
            await site.until(direct=2)
            for start in range(0, 100, 10):
                site.broadcast(*(f"{number}{LARGE}" for number in range(start, start + 10)))
                await saw([reading], f"{start + 9}{LARGE}")
            await until(lambda: len(life.told) == 3, lambda: life.told)
            reading.connection.close()
            await until(lambda: len(life.told) == 4, lambda: life.told)
            size = len(f"event: message\ndata: 10{LARGE}\n\n")
            (why, events, sent, _), left = life.told[2:]
            assert why == reason and 0 < events < 100 and 0.9 < sent / events / size <= 1
            assert left == ("left", 100, 100 * size - 10, None)
            life.told.clear()
            stuck.connection.reset()
        await site.nothing_is_left()


@each_pair
async def test_the_reason_of_those_whom_the_server_has_ended(loop: str, http: str) -> None:
    with serving(loop, http) as site:
        life = Life(site, direct=True)
        life.begin()
        streams = [await life.open() for _ in range(3)]
        site.broadcast(0, 1)
        await asyncio.to_thread(site.stop)
        for stream in streams:
            await stream.end()
            stream.connection.close()
        size = len("event: message\ndata: 0\n\n")
        assert life.told[3:] == [("shutdown", 2, 2 * size, None)] * 3


@pytest.mark.e2e
@pytest.mark.parametrize("kind", [*DIRECT, UVICORN, UVICORN_UVLOOP], ids=str)
async def test_the_reason_of_those_whom_a_signal_has_ended(kind: Kind) -> None:
    async with running(kind, "direct_ways", TELL="yes") as server:
        hub = Hub(server)
        streams = await hub.open(3)
        await hub.until(connected=3, direct=3 if kind in DIRECT else 0)
        await hub.publish("0", "1")
        server.terminate()
        for stream in streams:
            await stream.end()
            assert numbers(stream.body) == range(2)
        await server.exit_code()
        told = re.findall(r"<Client \d+, (\w+, \d+ events, \d+ bytes)>", server.log)
        assert told == [f"shutdown, 2 events, {2 * len(frame('0'))} bytes"] * 3
