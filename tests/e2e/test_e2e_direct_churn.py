"""Connections that come and go while C writes to others: no torn chunk, no gap, nobody's bytes for somebody else."""

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from client import Connection, Response, Wire
from hub import Hub, numbers
from in_process import PAIRS, Site, serving, until
from servers import DIRECT, Kind, running

from fastware_sse import Broadcaster

each_pair = pytest.mark.parametrize(("loop", "http"), PAIRS)

AT_A_TIME = 50
CONNECTIONS = 1250  # for each pair: 5,000 in all


@contextlib.contextmanager
def thread(run: Callable[[], float]) -> Iterator[None]:
    """Calls `run` again and again, each time after as many seconds as it has returned."""
    over = threading.Event()

    def repeat() -> None:
        pause = 0.0
        while not over.wait(pause):
            pause = run()

    running = threading.Thread(target=repeat, daemon=True)
    running.start()
    try:
        yield
    finally:
        over.set()
        running.join()


class Publisher:
    """Numbers from 0 on for one Broadcaster after the other: each is closed when it has had its number of events."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.chance = random.Random(1)
        self.direct = 0  # the most that were served so at a time
        self.begin()

    def begin(self) -> None:
        self.number = 0
        self.last = self.chance.randrange(200, 2000)
        self.broadcaster = self.site.broadcaster = Broadcaster(0, strict=False)

    def __call__(self) -> float:
        for _ in range(self.chance.choice([1, 1, 2, 30])):
            self.broadcaster.broadcast("message", str(self.number))
            self.number += 1
        self.direct = max(self.direct, self.broadcaster.stats()["direct"])
        if self.number >= self.last:
            ended = self.broadcaster
            self.begin()  # before, so that whoever is ended finds the next
            ended.close()
        return self.chance.uniform(0, 0.004)


class Visits:
    """What one after the other does, each on a connection of its own."""

    def __init__(self, site: Site, number: int) -> None:
        self.site = site
        self.left = number
        self.chance = random.Random(2)
        self.ends = 0
        self.events = 0

    async def run(self) -> None:
        while self.left > 0:
            self.left -= 1
            await self.visit(await self.site.connect())

    async def visit(self, connection: Connection) -> None:
        stream = await self.stream(connection)
        if stream.complete and self.chance.random() < 0.5:
            stream = await self.stream(connection)
        if self.chance.random() < 0.3:
            answer = connection.send("GET", "/ping")
            if stream.complete:
                assert (await answer.end()).body == b"pong"
        self.chance.choice([Wire.close, Wire.reset, Wire.half_close])(connection)
        if not connection.closed_by_server:
            connection.close()

    async def stream(self, connection: Connection) -> Response:
        """A stream, read until it ends or a while."""
        stream = connection.send("GET", "/")
        wanted = self.chance.choice([0, 1, 100, 1000, 3000])
        await stream.until(lambda: stream.size >= wanted or stream.complete)
        self.ends += stream.complete
        self.events += len(numbers(stream.body))
        return stream


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


@each_pair
async def test_churn(loop: str, http: str) -> None:
    with serving(loop, http):
        pass  # the first loop of libuv's in a process opens a pipe for good
    before = descriptors()
    with serving(loop, http) as site:
        publisher = Publisher(site)
        visits = Visits(site, CONNECTIONS)
        with thread(publisher):
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_A_TIME):
                    group.create_task(visits.run())
        await site.nothing_is_left()
        assert visits.ends > 20 and visits.events > 10 * CONNECTIONS and publisher.direct > 10
    await until(lambda: descriptors() <= before, descriptors)


RATE = 10_000  # events a second, of a thread
PACE = 200  # connections a second that are reset
RESETS = 600


class Resetting:
    """Clients that send a part of their request, or all of it, read a part of what comes, or nothing, and are reset."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.port = port
        self.chance = chance

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(RESETS):
                group.create_task(self.visit())
                await asyncio.sleep(1 / PACE)

    async def visit(self) -> None:
        loop = asyncio.get_running_loop()
        request = b"GET /bare/hub HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with socket.socket() as raw:
            raw.setblocking(False)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await loop.sock_connect(raw, ("127.0.0.1", self.port))
            cut = self.chance.choice([len(request), self.chance.randrange(1, len(request))])
            await loop.sock_sendall(raw, request[:cut])
            left = self.chance.choice([0, self.chance.randrange(1, 5000)]) if cut == len(request) else 0
            while left > 0:
                left -= len(await loop.sock_recv(raw, left))


@pytest.mark.e2e
@pytest.mark.parametrize("kind", DIRECT, ids=str)
async def test_no_byte_of_a_connection_that_was_reset_comes_to_another(kind: Kind) -> None:
    """The descriptor of one that is gone is at once that of the next."""
    chance = random.Random(4)
    async with running(kind, "direct_ways", BROADCASTER=json.dumps({"buffer_size": 0})) as server:
        hub = Hub(server)
        before = await hub.ask()
        staying = await hub.open(3)
        await hub.until(connected=3, direct=3)
        await hub.ask(flow=RATE)
        resetting = asyncio.create_task(Resetting(server.port, chance).run())
        while not resetting.done():
            await hub.ask()  # a connection of an ordinary request, and one of a stream
            [stream] = await hub.open(1)
            await stream.until(lambda stream=stream: stream.size > 100)
            assert len(numbers(stream.body)) > 0
            chance.choice([Wire.close, Wire.reset])(stream.connection)
        await resetting
        await hub.ask(stop=True)
        number = (await hub.until(connected=3, direct=3))["number"]
        await hub.close()
        for stream in staying:
            await stream.end()
            assert numbers(stream.body) == range(number)
            stream.connection.close()
        await hub.until(connected=0, direct=0, at_most=before)
        server.assert_no_complaint()
