"""The documentation's complete example on real servers: everybody gets everything, in order, the same bytes."""

import asyncio
import json

import pytest
from client import connect
from decoder import Event, decode
from servers import KINDS, SERVE, Kind, Server, running

pytestmark = pytest.mark.e2e

CLIENTS = 200
EVENTS = 2000
RATE = 1000  # events per second
SENDERS = 20  # a server answers the requests of one connection one after the other, which is not fast enough


def wire(event: str, data: dict) -> bytes:
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def send_paced(server: Server) -> None:
    """POST the events, each at its time, on several connections in turn, without waiting for earlier answers."""
    loop = asyncio.get_running_loop()
    senders = [await connect(server.port) for _ in range(SENDERS)]
    start = loop.time()
    answers = []
    for number in range(EVENTS):
        await asyncio.sleep(start + number / RATE - loop.time())
        text = f"{number % SENDERS} {number // SENDERS}"
        answers.append(senders[number % SENDERS].send("POST", "/send", {"text": text}))
    for answer in answers:
        assert json.loads((await answer.end()).body) == {"sent": True}


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_every_client_gets_every_event_in_order(kind: Kind) -> None:
    everybody = wire("status", {"clients": CLIENTS})
    async with running(kind) as server:
        streams = await server.streams(CLIENTS)
        # Up to here streams differ: each has the status events since it was registered, the last of which says 200.
        await send_paced(server)
        await server.has_clients(CLIENTS)  # and says so once more to each, after everything
        for stream in streams:
            await stream.until(lambda stream=stream: stream.body.count(everybody) == 2)
        bodies = {stream.body.split(everybody)[1] for stream in streams}
        assert len(bodies) == 1
        events = decode(bodies.pop())
        assert {event.type for event in events} == {"message"}
        # The senders raced against each other, but each of them was in order.
        sent = [tuple(map(int, json.loads(event.data)["text"].split())) for event in events]
        for sender in range(SENDERS):
            assert [number for by, number in sent if by == sender] == list(range(EVENTS // SENDERS))
        server.assert_no_complaint()


async def test_unchanged_imports_after_install() -> None:
    async with running(SERVE, "installed") as server:
        streams = await server.streams(10)
        await server.request("POST", "/send", {"text": "hello"})
        server.interrupt()
        for stream in streams:
            await stream.end()
            assert stream.events[-1] == Event("message", '{"text":"hello"}', "")
        assert await server.exit_code() == 0  # the original would wait for its streams for ever
        server.assert_no_complaint()
