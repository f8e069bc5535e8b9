"""Every framework's example on real servers: what its users write works, to the last event and the server's end."""

import importlib.util
import json
import os
from typing import NamedTuple

import pytest
from client import Connection, connect
from servers import APPS, Kind, Server, running
from test_e2e_asgi import GRANIAN, UVICORN
from test_e2e_exit import STOP, STOP_IDLE, all_of, assert_clean_end

pytestmark = pytest.mark.e2e


class Example(NamedTuple):
    """A module of examples/ with the routes /events, /items and /status, and the package that it needs."""

    name: str
    package: str
    kinds: list[Kind]
    head: int = 200
    """What /events answers to HEAD; 405 where the framework leaves it to the route to list it."""


def _aiohttp(loop: str) -> Kind:
    return Kind(f"aiohttp-{loop}", [str(APPS / "run_aiohttp.py"), "{file}", "{port}", loop])


ASGI = [UVICORN, GRANIAN]
AIOHTTP = [_aiohttp("asyncio"), _aiohttp("uvloop")]  # its own server
EXAMPLES = [
    Example("starlette_app", "starlette", ASGI),
    Example("fastapi_app", "fastapi", ASGI, head=405),
    Example("litestar_app", "litestar", ASGI, head=405),
    Example("quart_app", "quart", ASGI),
    Example("django_app", "django", ASGI),
    Example("blacksheep_app", "blacksheep", ASGI),
    Example("aiohttp_app", "aiohttp", AIOHTTP),
]


def needing(package: str) -> list[pytest.MarkDecorator]:
    """In CI a missing framework is a failure: the server says which module it lacks."""
    missing = importlib.util.find_spec(package) is None and os.environ.get("CI") != "true"
    return [pytest.mark.skip(reason=f"{package} is not installed")] if missing else []


def cases() -> list[object]:
    return [
        pytest.param(example, kind, id=f"{example.name}-{kind}", marks=needing(example.package))
        for example in EXAMPLES
        for kind in example.kinds
    ]


each = pytest.mark.parametrize(("example", "kind"), cases())


def created(events: list) -> list[dict]:
    return [json.loads(event.data)["item"] for event in events if event.type == "update"]


async def create(server: Server, items: list[dict]) -> None:
    """POST them, each after the answer to the one before."""
    connection = await connect(server.port)
    for item in items:
        assert await connection.request("POST", "/items", item) == {"ok": True}
    connection.close()


@each
async def test_every_client_gets_every_event_in_order(example: Example, kind: Kind) -> None:
    items = [{"number": number} for number in range(200)]
    async with running(kind, example.name) as server:
        streams = await server.streams(20)
        for stream in streams:  # before there is any event
            await stream.until(lambda stream=stream: bool(stream.chunks))
            assert stream.events == []
        assert streams[0].headers["x-accel-buffering"] == "no"
        await create(server, items)
        for stream in streams:
            await stream.until(lambda stream=stream: len(stream.events) == len(items))
            assert created(stream.events) == items

        connection = await connect(server.port)
        head = await connection.send("HEAD", "/events").end()
        assert head.status == example.head
        if head.status == 200:
            assert head.headers["content-type"] == "text/event-stream"
        assert (await connection.request("GET", "/status"))["clients"] == len(streams)
        server.assert_no_complaint()


@each
async def test_a_client_that_leaves_is_not_counted_any_more(example: Example, kind: Kind) -> None:
    async with running(kind, example.name) as server:
        for leave in (Connection.close, Connection.reset):
            for stream in await server.streams(10):
                leave(stream.connection)
            await server.has_clients(0)
        server.assert_no_complaint()


@each
@pytest.mark.parametrize("how", STOP)
async def test_stops_as_if_no_stream_were_open(example: Example, kind: Kind, how: str) -> None:
    items = [{"number": number} for number in range(10)]
    async with running(kind, example.name) as idle, running(kind, example.name) as server:
        await idle.has_clients(0)
        STOP_IDLE[how](idle)

        streams = await server.streams(20)
        await create(server, items)
        STOP[how](server)  # some have not been sent yet, and are owed
        await all_of([assert_clean_end(stream) for stream in streams])
        for stream in streams:
            assert created(stream.events) == items

        assert await server.exit_code() == await idle.exit_code()
        server.assert_no_complaint()


async def test_fastapi_documents_the_stream() -> None:
    async with running(UVICORN, "fastapi_app") as server:
        schema = await server.request("GET", "/openapi.json")
        response = schema["paths"]["/events"]["get"]["responses"]["200"]
        assert list(response["content"]) == ["text/event-stream"]
