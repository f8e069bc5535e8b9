"""The ASGI responder on real servers, without a framework: everybody gets everything, and the rest ends."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator

import pytest
from client import all_got, connect, connect_without_reading, raw_answer
from servers import DAPHNE, GRANIAN, GRANIAN_UVLOOP, HYPERCORN, UVICORN, UVICORN_UVLOOP, Kind, Server, running

pytestmark = pytest.mark.e2e

APP = "asgi_knobs"
EACH = [UVICORN, UVICORN_UVLOOP, GRANIAN, GRANIAN_UVLOOP, HYPERCORN, DAPHNE]


@contextlib.asynccontextmanager
async def flowing(server: Server) -> AsyncIterator[list[str]]:
    """Events for as long as the block runs, and one more; the block is given what was sent."""
    texts: list[str] = []
    over = asyncio.Event()

    async def send() -> None:
        while not over.is_set():
            texts.append(f"{len(texts)}")
            await server.burst(texts[-1])  # on a connection of its own: hypercorn ends one after 1,000 requests
            await asyncio.sleep(0.002)

    task = asyncio.create_task(send())
    try:
        yield texts
        assert not task.done()
    finally:
        over.set()
        await task  # the last request has been answered, so nothing overtakes it
        texts.append("last")
        await server.burst("last")


@pytest.mark.parametrize("kind", [UVICORN, GRANIAN_UVLOOP], ids=str)
async def test_the_example(kind: Kind) -> None:
    async with running(kind, "asgi_app") as server:
        stream = await server.stream("/events")
        await stream.until(lambda: len(stream.events) == 1)
        post = b"POST /send HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
        assert (await raw_answer(server.port, post)).startswith(b"HTTP/1.1 204 ")
        await stream.until(lambda: len(stream.events) == 2)
        assert stream.data == ["welcome", "hello"]
        assert stream.body.startswith(b"retry: ")
        server.assert_no_complaint()


@pytest.mark.parametrize("kind", EACH, ids=str)
async def test_a_thousand_that_come_and_reset_while_events_flow(kind: Kind) -> None:
    number = 1000
    at_once = 40 if kind is DAPHNE else 200  # it lets 50 wait to be accepted; the others would come after a second
    async with running(kind, APP) as server:
        staying = await server.streams(3)
        before = await server.request("GET", "/status")
        async with flowing(server) as texts:
            for _ in range(0, number, at_once):  # nothing has been answered yet
                connections = [await connect(server.port) for _ in range(at_once)]
                for connection in connections:
                    connection.send("GET", "/")
                for connection in connections:
                    connection.reset()
            for _ in range(0, number, at_once):  # the head has been read
                connections = [await connect(server.port) for _ in range(at_once)]
                for response in [connection.send("GET", "/") for connection in connections]:
                    await response.head()
                for connection in connections:
                    connection.reset()
        await all_got(staying, texts)
        await server.nothing_is_left(before)
        server.assert_no_complaint()


# ---- a reader that does not read ----


@pytest.mark.parametrize("kind", [UVICORN, GRANIAN_UVLOOP], ids=str)
async def test_a_reader_that_never_reads_is_dropped_after_send_timeout(kind: Kind) -> None:
    timeout = 0.5
    size, number = 10_000, 700  # more than what the kernel and the server take for a client that does not read
    options = {"EVENT_STREAM": json.dumps({"send_timeout": timeout}), "BROADCASTER": json.dumps({"buffer_size": 0})}
    async with running(kind, APP, **options) as server:
        before = await server.request("GET", "/status")
        reading = [await server.stream() for _ in range(3)]
        stuck = await connect_without_reading(server.port)
        stuck.send("GET", "/")
        await server.has_clients(4)
        sent = [f"{n} {'x' * size}" for n in range(number)]
        for start in range(0, number, 20):
            await server.burst(*sent[start : start + 20])
            for stream in reading:
                await stream.until(lambda stream=stream, start=start: stream.size >= (start + 20) * size)
        start = asyncio.get_running_loop().time()
        await server.has_clients(3)
        while (await server.request("GET", "/status"))["tasks"] > before["tasks"] + 6:
            await asyncio.sleep(0.02)
        assert asyncio.get_running_loop().time() - start < timeout + 2
        await server.burst("last")
        await all_got(reading, [*sent, "last"])
        for stream in reading:
            stream.connection.close()
        stuck.reset()
        await server.nothing_is_left(before)
        server.assert_no_complaint()


# ---- hostile requests ----


def hostile_requests() -> list[bytes]:
    host = b"Host: localhost\r\n"
    get = b"GET / HTTP/1.1\r\n" + host
    post = b"POST / HTTP/1.1\r\n" + host
    forms = [
        # Heads that are too large, or too many.
        *(get + b"X-Big: " + b"x" * size + b"\r\n\r\n" for size in (1_000, 10_000, 70_000, 300_000, 1_000_000)),
        *(get + b"X-Big: " + b"x" * size for size in (10_000, 1_000_000)),  # with no end
        *(get + b"".join(b"X-%d: y\r\n" % n for n in range(count)) + b"\r\n" for count in (50, 200, 5000)),
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /?" + b"a=b&" * 20_000 + b" HTTP/1.1\r\n" + host + b"\r\n",
        b"A" * 200_000,
        b"\r\n" * 10_000,
        # Methods, targets and versions.
        *(
            method + b" / HTTP/1.1\r\n" + host + b"\r\n"
            for method in b"get BREW CONNECT TRACE OPTIONS PRI M-SEARCH DELETE PATCH PUT G\0T GE\tT \xff\xfe".split(
                b" "
            )
        ),
        *(b"X" * size + b" / HTTP/1.1\r\n" + host + b"\r\n" for size in (100, 10_000)),
        *(
            b"GET " + target + b" HTTP/1.1\r\n" + host + b"\r\n"
            for target in (
                b"*",
                b"",
                b"http://a/b",
                b"//",
                b"/%",
                b"/%00",
                b"/../..",
                b"/\xff",
                b"/\0",
                b"/ /",
                b"a:80",
            )
        ),
        *(
            b"GET / " + version + b"\r\n" + host + b"\r\n"
            for version in (
                b"HTTP/0.9",
                b"HTTP/1.2",
                b"HTTP/2.0",
                b"HTTP/9.9",
                b"HTTP/1",
                b"HTTX/1.1",
                b"",
                b"http/1.1",
            )
        ),
        # Head lines.
        *(
            get + line + b"\r\n\r\n"
            for line in (
                *(b"X: a\rb", b"X: a\nb: c", b"X: a\0b", b"X : a", b" X: a", b"X", b": a", b"X\xff: a", b"X: \xff\xfe"),
                *(b"X: a\r\n folded", b"Host: again", b"Host:", b"Content-Length: ", b"Connection: close, keep-alive"),
                *(b"Last-Event-ID: " + b"9" * 5000, b"Accept: nothing/at-all", b"Expect: 100-continue", b"Expect: x"),
                *(b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk", b"Upgrade: x"),
                b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                b"dGhlIHNhbXBsZSBub25jZQ==",
                *(b"Upgrade: websocket\r\nConnection: Upgrade", b"Transfer-Encoding: identity"),
            )
        ),
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\n" + host.replace(b"\r", b"") + b"\n",
        # Bodies that end in two ways, or in none.
        *(
            start + lines + b"\r\n\r\n" + body
            for start in (get, post)
            for lines, body in (
                (b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n"),
                (b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
                (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
                (b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
                (b"Transfer-Encoding: \x0bchunked", b"0\r\n\r\n"),
                (b"Transfer-Encoding: chunked", b"zz\r\nhello\r\n"),
                (b"Transfer-Encoding: chunked", b"-5\r\nhello\r\n"),
                (b"Transfer-Encoding: chunked", b"ffffffffffffffffff\r\nhello\r\n"),
                (b"Transfer-Encoding: chunked", b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n"),
                (b"Transfer-Encoding: chunked", b"5\r\nhello"),
                (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n"),
                (b"Content-Length: 5", b"he"),
                (b"Content-Length: 5", b"hello" + get + b"\r\n"),
                (b"Content-Length: 5\r\nContent-Length: 6", b"hello!"),
                (b"Content-Length: -1", b""),
                (b"Content-Length: 99999999999999999999999", b"x"),
                (b"Content-Length: 1000000", b"x" * 500_000),
                (b"Content-Length: 0x5", b"hello"),
            )
        ),
        # Pipelined.
        get + b"\r\n" + get + b"\r\n",
        (get + b"\r\n") * 200,
        b"HEAD / HTTP/1.1\r\n" + host + b"\r\n" + get + b"\r\n",
        (b"HEAD / HTTP/1.1\r\n" + host + b"\r\n") * 100,
        post + b"Content-Length: 0\r\n\r\n" + get + b"\r\n",
        get + b"\r\n" + b"garbage" * 100,
        b"GET / HTTP/1.0\r\n\r\n" + get + b"\r\n",
        # Not HTTP/1.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get + b"\r\n",
        b"\0" * 1000,
        b"",
    ]
    whole = get + b"Accept: text/event-stream\r\nConnection: keep-alive\r\n\r\n"
    forms += [whole[:cut] for cut in range(1, len(whole), 3)]
    chance = random.Random(4)
    while len(forms) < 200:
        mutated = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        forms.append(bytes(mutated))
    return forms


async def attack(server: Server, request: bytes, how: int) -> None:
    """Send it, look at what comes for a moment or not at all, and leave by FIN or by RST."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with contextlib.suppress(ConnectionError, TimeoutError):
        writer.write(request)
        async with asyncio.timeout(0.1):
            await writer.drain()
            if how % 2:
                await reader.read(65536)
                await reader.read(65536)
    if how % 3:
        writer.close()
    else:
        writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize("kind", EACH, ids=str)
async def test_hostile_requests_beside_healthy_streams(kind: Kind) -> None:
    forms = hostile_requests()
    assert len(forms) >= 200
    async with running(kind, APP) as server:
        healthy = await server.streams(100)
        before = await server.request("GET", "/status")
        gate = asyncio.Semaphore(20)

        async def guarded(number: int, form: bytes) -> None:
            async with gate:
                await attack(server, form, number)

        async with flowing(server) as texts, asyncio.TaskGroup() as group:
            for number, form in enumerate(forms):
                group.create_task(guarded(number, form))
        await all_got(healthy, texts)
        await server.nothing_is_left(before)
        assert not server.exited
        # uvicorn's send() may raise when a request was not one, or was followed by what is none: logged, once each.
        for word in (
            "never retrieved",
            "Exception ignored",
            "was destroyed",
            "Exception in ASGI",
            "authorize",
            "initial",
        ):
            assert word not in server.log, server.log
