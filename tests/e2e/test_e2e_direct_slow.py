"""Clients that take a few bytes at a time, or nothing any more, beside others that must not notice."""

import asyncio
import random
import runpy
import socket

import pytest
from client import Connection
from hub import found, numbers, without_foreign
from in_process import PAIRS, Site, serving, until
from servers import APPS

from fastware_sse import Broadcaster

foreign = runpy.run_path(str(APPS / "foreign.py"))["foreign"]

each_pair = pytest.mark.parametrize(("loop", "http"), PAIRS)


class Nibbler:
    """A client on a socket with the least of buffers that takes 1 to 700 bytes at a time, each judged as it comes."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.chance = random.Random(seed)
        self.raw = socket.socket()
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the kernel makes its least of it
        self.raw.setblocking(False)
        self.connection = Connection()
        self.stream = self.connection.expect("GET")

    async def read(self) -> None:
        """Until the end of the stream."""
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.raw, ("127.0.0.1", self.site.port))
        await loop.sock_sendall(self.raw, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not self.stream.complete:
            self.connection.take(await loop.sock_recv(self.raw, self.chance.randint(1, 700)))
            await asyncio.sleep(self.chance.choice([0, 0, 0, 0.002]))

    async def ask_for_pong(self) -> None:
        """Nothing came behind the end, and the connection is in order."""
        loop = asyncio.get_running_loop()
        answer = self.connection.expect("GET")
        await loop.sock_sendall(self.raw, b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not answer.complete:
            self.connection.take(await loop.sock_recv(self.raw, 1))
        assert answer.body == b"pong"
        self.raw.close()


@each_pair
@pytest.mark.parametrize("senders", ["one", "two"])
async def test_every_byte_for_a_client_that_takes_few_at_a_time(loop: str, http: str, senders: str) -> None:
    chance = random.Random(3)
    with serving(loop, http, send_buffer=1) as site:
        if senders == "two":
            site.app = foreign(site.stream, 0.005, 0.05)
        site.broadcaster = Broadcaster(0, strict=False, heartbeat_interval=0.01)
        nibblers = [Nibbler(site, seed) for seed in range(5)]
        reading = [asyncio.create_task(nibbler.read()) for nibbler in nibblers]
        await site.until(connected=len(nibblers), direct=len(nibblers))
        number = 0
        for _ in range(60):
            for _ in range(chance.choice([0, 1, 1, 3, 30])):
                site.broadcast(f"{number}{'.' * 300}")
                number += 1
            await asyncio.sleep(chance.choice([0.001, 0.02, 0.05]))  # longer than a heartbeat's interval, or not
        site.broadcaster.close()
        for nibbler, task in zip(nibblers, reading, strict=True):
            await task
            assert numbers(without_foreign(nibbler.stream.body), "." * 300) == range(number)
            assert (b": foreign 9\n" in nibbler.stream.body) == (senders == "two")
            assert nibbler.stream.body.count(b": heartbeat\n\n") > 0
            await nibbler.ask_for_pong()
        await site.nothing_is_left()


@each_pair
async def test_one_in_a_hundred_has_stopped_for_good(loop: str, http: str) -> None:
    """They are closed, the others lose nothing, and nothing is kept for those who are gone."""
    reasons: list[str | None] = []
    pad = "." * 400
    with serving(loop, http, send_buffer=16384) as site:
        site.broadcaster = Broadcaster(64, strict=False, on_disconnect=lambda client: reasons.append(client.reason))
        site.options = {"send_timeout": 2.0}  # the clients share their thread with each other, and their process
        reading = await site.open(297)
        stopped = [await site.open_stuck() for _ in range(3)]
        await site.until(direct=300)
        for start in range(0, 300, 30):
            site.broadcast(*(f"{number}{pad}" for number in range(start, start + 30)))
            marker = f"data: {start + 29}.".encode()
            for stream in reading:
                await stream.until(found(stream, marker))
        await site.until(connected=297, log_events=0, log_bytes=0)
        for stream in reading:
            assert numbers(stream.body, pad) == range(300)
        await site.until(direct=297)
        await until(lambda: len(site.server.server_state.connections) == 297)
        assert set(reasons) <= {"pruned", "send_timeout"} and len(reasons) == 3
        site.broadcast(f"300{pad}")
        for stream in reading:
            await stream.until(found(stream, b"data: 300."))
            stream.connection.close()
        for stream in stopped:
            stream.connection.close()
        await site.nothing_is_left()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("reason", ["send_timeout", "pruned"])
async def test_one_that_stops_after_a_while_is_closed(loop: str, reason: str) -> None:
    """Its socket has room, though too little for the kernel to tell of it, and all that it was given has gone there."""
    reasons: list[str | None] = []
    with serving(loop, "httptools") as site, socket.socket() as raw:
        limit = 0 if reason == "send_timeout" else 400
        site.broadcaster = Broadcaster(limit, strict=False, on_disconnect=lambda client: reasons.append(client.reason))
        site.options = {"send_timeout": 0.5}
        raw.connect(("127.0.0.1", site.port))
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await site.until(direct=1)
        for _ in range(600):  # more than the kernel keeps
            site.broadcast("." * 20_000)
            await asyncio.sleep(0)
        left = 1_500_000
        while left > 0:
            left -= len(await asyncio.to_thread(raw.recv, 65_536))
        for _ in range(limit + 1):
            site.broadcast(".")
        await until(lambda: reasons == [reason], lambda: reasons)
        await site.nothing_is_left()
