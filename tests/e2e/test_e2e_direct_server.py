"""uvicorn with our protocol class as it is started: TLS, signals, workers, reloading, a process without files."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest
from client import LIMIT, Connection, ProtocolError, Response, connect_without_reading
from hub import OPENING, Hub, frame, numbers, saw
from in_process import PAIRS
from servers import APPS, Kind, Server, direct, running
from test_e2e_tls import Certificate, certificate

__all__ = ["certificate"]  # a fixture

pytestmark = pytest.mark.e2e

APP = "direct_ways"
LARGE = "." * 100_000

each_pair = pytest.mark.parametrize(("loop", "http"), PAIRS)


async def ended(streams: list[Response], expected: bytes) -> None:
    for stream in streams:
        await stream.end()
        assert stream.body == OPENING + expected
        await stream.connection.closed()


@each_pair
async def test_tls_takes_the_other_way(loop: str, http: str, certificate: Certificate) -> None:
    files = ["--ssl-certfile", certificate.chain, "--ssl-keyfile", certificate.key]
    async with running(direct(loop, http, *files), APP, tls=certificate.trust()) as server:
        hub = Hub(server)
        streams = await hub.open(20)
        await hub.until(connected=20)
        await hub.publish("a", "b")
        await saw(streams, "b")
        await hub.until(connected=20, direct=0)
        server.terminate()
        await ended(streams, frame("a") + frame("b"))
        await server.exit_code()
        server.assert_no_complaint()


@each_pair
@pytest.mark.parametrize("graceful", [None, 1], ids=["for ever", "1 s"])
async def test_sigterm_with_a_reader_that_is_stuck(loop: str, http: str, graceful: int | None) -> None:
    more = [] if graceful is None else ["--timeout-graceful-shutdown", str(graceful)]
    async with running(direct(loop, http, *more), APP) as server:
        hub = Hub(server)
        stuck = (await connect_without_reading(server.port)).send("GET", hub.target)
        await hub.until(connected=1)
        streams = await hub.open(10)
        await hub.until(connected=11, direct=11)
        texts = [f"{number}{LARGE}" for number in range(100)]  # 10 MB: more than the kernel takes for one
        await hub.publish(*texts)
        await saw(streams, texts[-1])
        server.terminate()
        await ended(streams, b"".join(map(frame, texts)))
        async with asyncio.timeout(3):
            await server.exit_code()
        stuck.connection.read_on()
        with pytest.raises((ProtocolError, ConnectionError)):
            await stuck.end()


@each_pair
async def test_sigterm_with_a_reader_that_is_owed_its_last_events(loop: str, http: str) -> None:
    """Its stream ends at the signal, before the server begins to stop; the end stays in the transport."""
    async with running(direct(loop, http), APP) as server:
        hub = Hub(server)
        stuck = (await connect_without_reading(server.port)).send("GET", hub.target)
        await hub.until(connected=1, direct=1)
        async with asyncio.timeout(LIMIT):
            while (await hub.ask(batches=[["x" * 20_000]]))["log_events"] < 2:
                await asyncio.sleep(0.001)
        server.terminate()
        async with asyncio.timeout(4):
            await server.exit_code()
        stuck.connection.close()


class Workers:
    """The workers of a server, by their process ids, as their answers tell."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.streams: dict[int, list[Response]] = {}

    async def worker_of(self, connection: Connection) -> int:
        return (await connection.request("POST", "/control/hub", {}))["pid"]

    async def open(self, number: int) -> None:
        """Streams until each of `number` workers has two."""
        async with asyncio.timeout(LIMIT):
            while sum(len(streams) >= 2 for streams in self.streams.values()) < number:
                connection = await self.server.connect()
                pid = await self.worker_of(connection)
                self.streams.setdefault(pid, []).append(await connection.send("GET", "/bare/hub").head())

    async def publish(self, *pids: int) -> None:
        """In each of these workers its own number."""
        left = set(pids)
        while left:
            connection = await self.server.connect()
            pid = await self.worker_of(connection)
            if pid in left:
                left.remove(pid)
                now = await connection.request("POST", "/control/hub", {"batches": [[str(pid)]]})
                assert now["direct"] == now["connected"] == len(self.streams[pid])
            connection.close()


@each_pair
async def test_workers_have_clients_of_their_own_and_one_that_is_killed_is_replaced(loop: str, http: str) -> None:
    async with running(direct(loop, http, "--workers", "2"), APP) as server:
        workers = Workers(server)
        await workers.open(2)
        killed, other = workers.streams
        await workers.publish(killed, other)
        for pid, streams in workers.streams.items():
            await saw(streams, str(pid))
        os.kill(killed, signal.SIGKILL)
        for stream in workers.streams.pop(killed):
            with pytest.raises((ProtocolError, ConnectionError)):
                await stream.end()
        await workers.open(2)
        [new] = set(workers.streams) - {other}
        await workers.publish(new)
        await saw(workers.streams[new], str(new))
        server.terminate()
        await ended(workers.streams[new], frame(str(new)))
        await ended(workers.streams[other][:2], frame(str(other)))
        await server.exit_code()
        assert "Traceback" not in server.log


async def watches_files(pid: int) -> None:
    """Wait until a process does. uvicorn begins with it some time after its first worker, and does not say so."""
    async with asyncio.timeout(LIMIT):
        while True:
            for info in Path(f"/proc/{pid}/fdinfo").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if "inotify wd:" in info.read_text():
                        return
            await asyncio.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells when a process watches files")
@each_pair
async def test_reload_ends_the_streams_and_begins_anew(loop: str, http: str, tmp_path: Path) -> None:
    module = tmp_path / "watched.py"
    module.write_text(f"import sys\n\nsys.path.append({str(APPS)!r})\n\nfrom direct_ways import app\n")
    options = ["--reload", "--reload-dir", str(tmp_path), "--app-dir", str(tmp_path)]
    kind = direct(loop, http, *options)
    kind = Kind(kind.name, [part.replace("{app}", "watched") for part in kind.command])
    async with running(kind, APP) as server:
        hub = Hub(server)
        streams = await hub.open(10)
        first = (await hub.until(connected=10, direct=10))["pid"]
        await hub.publish("before")
        await saw(streams, "before")
        await watches_files(server.pid)
        module.write_text(module.read_text() + "\n")
        await ended(streams, frame("before"))
        streams = await hub.open(10)
        assert (await hub.until(connected=10, direct=10))["pid"] != first
        await hub.publish("after")
        await saw(streams, "after")
        server.terminate()
        await ended(streams, frame("after"))
        await server.exit_code()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells how many descriptors are open")
@each_pair
async def test_no_descriptor_is_taken_for_a_client(loop: str, http: str) -> None:
    async with running(direct(loop, http), APP) as server:
        hub = Hub(server)
        first = await hub.open(1)
        before = await hub.until(direct=1)
        streams = await hub.open(100)
        now = await hub.until(direct=101)
        assert now["descriptors"] == before["descriptors"] + 100  # of the connections
        await hub.publish("0")
        await saw(streams, "0")
        assert numbers(first[0].body) == range(1)
        for stream in streams:
            stream.connection.close()
        await hub.until(direct=1, at_most=before)
