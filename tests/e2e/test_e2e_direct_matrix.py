"""The direct way through every event loop, HTTP parser and framework: each client gets the same bytes as on any other.

What stands between a stream and the server may pass its bodies on, as most do, or change them; then there is no
direct way, and nobody but stats() can tell.
"""

import asyncio
import random
import zlib

import pytest
from client import Response, Wire
from hub import OPENING, Hub, frame, saw, without_foreign
from servers import DIRECT, Kind, Server, running

pytestmark = pytest.mark.e2e

CLIENTS = 200
TEXTS = [f"{number} ".ljust(6 + number % 30 + (number % 250 == 0) * 5000, "ü") for number in range(1000)]

ATTACHING = ["bare", "starlette", "fastapi", "fastware", "fastware-stream", "passing", "gzip", "foreign"]
CHANGING = ["gzip-forced", "rewriting"]
GZIP = "Accept-Encoding: gzip\r\n"


def plain(way: str, stream: Response) -> bytes:
    """What the responder has sent, without what the way to the client has made of it."""
    body = stream.body
    if way == "gzip-forced":
        assert stream.headers["content-encoding"] == "gzip"
        decoder = zlib.decompressobj(31)
        body = decoder.decompress(body)
        assert decoder.eof and not decoder.unused_data
    if way == "rewriting":
        body = body.replace(b"\n: rewritten\n\n", b"\n\n")
    if way == "foreign":
        body = without_foreign(body)
    return body.removeprefix(OPENING)


def batches(texts: list[str]) -> list[list[str]]:
    """Cut as publishers do: some events alone, some together."""
    chance = random.Random(7)
    cut = []
    while texts:
        size = chance.choice([1, 1, 1, 2, 5, 20, 60])
        cut.append(texts[:size])
        texts = texts[size:]
    return cut


@pytest.mark.parametrize("kind", DIRECT, ids=str)
async def test_every_way(kind: Kind) -> None:
    async with running(kind, "direct_ways") as server:
        for way in ATTACHING + CHANGING:
            print(way)  # pytest shows it beside a failure
            await check(server, way)
        await check_the_end(server)


async def check(server: Server, way: str) -> None:
    hub, later = Hub(server, way, way), Hub(server, way, f"later-{way}")
    before = await hub.ask()
    attached = int(way in ATTACHING)
    streams = await hub.open(CLIENTS, GZIP)
    await hub.until(connected=CLIENTS, direct=attached * CLIENTS)
    await hub.ask(batches=batches(TEXTS), pause=0.001)
    if way != "gzip-forced":  # it keeps events back until it has enough of them
        await saw(streams, TEXTS[-1])
    await hub.until(connected=CLIENTS, direct=attached * CLIENTS)

    for index, stream in enumerate(streams[CLIENTS // 2 :]):
        (Wire.close, Wire.reset, Wire.half_close)[index % 3](stream.connection)
    streams = streams[: CLIENTS // 2]
    await hub.until(connected=len(streams), direct=attached * len(streams))

    await hub.publish("the last")
    await hub.close()
    expected = b"".join(map(frame, [*TEXTS, "the last"]))
    for stream in streams:
        await stream.end()
        assert plain(way, stream) == expected
    await hub.until(connected=0, direct=0)
    for stream in streams:  # the connection is as good as new
        assert (await stream.connection.request("POST", f"/control/{hub.name}", {}))["connected"] == 0

    again = [await stream.connection.send("GET", later.target, headers=GZIP).head() for stream in streams]
    await later.until(connected=len(again), direct=attached * len(again))
    await later.publish("again")
    await later.close()
    for stream in again:
        await stream.end()
        assert plain(way, stream) == frame("again")
        stream.connection.close()
    await later.until(connected=0, direct=0, at_most=before)


async def check_the_end(server: Server) -> None:
    """SIGTERM, with streams of all ways: each gets what it is owed, its last chunk and FIN."""
    texts = [f"owed {number}" for number in range(20)]
    opened: list[tuple[str, Response]] = []
    for way in ATTACHING + CHANGING:
        hub = Hub(server, way, "shared")
        opened += [(way, stream) for stream in await hub.open(10, GZIP)]
    await hub.until(connected=len(opened), direct=10 * len(ATTACHING))
    await hub.publish(*texts)
    server.terminate()
    async with asyncio.timeout(2):
        for way, stream in opened:
            await stream.end()
            assert plain(way, stream) == b"".join(map(frame, texts))
            await stream.connection.closed()
    await server.exit_code()
    server.assert_no_complaint()
