"""What a Litestar handler returns, in an application of Litestar."""

import asyncio
from typing import Any

import pytest
from exchange import Exchange, ask, until
from litestar import Litestar, Request, get, post, route
from litestar.types import ASGIApp, Receive, Scope, Send
from support import message, permissive, turns

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream


def app_of(broadcaster: Broadcaster, decorator: Any = get("/events"), **options: Any) -> Litestar:  # noqa: B008
    @decorator
    async def events(request: Request) -> ASGIApp:
        return await broadcaster.stream(request, initial=[("hello", "")])

    return Litestar([events], **options)


async def ask_and_join(app: Litestar, broadcaster: Broadcaster, *arguments: Any) -> Exchange:
    """A client that has got the first body."""
    exchange = ask(app, *arguments)
    await until(lambda: len(exchange.messages) == 2 or exchange.task.done())
    assert broadcaster.client_count == 1
    return exchange


def passing(app: ASGIApp) -> ASGIApp:
    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        async def pass_on(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-passed", b"1"))
            await send(message)

        await app(scope, receive, pass_on)

    return middleware


@pytest.mark.parametrize(("decorator", "method"), [(get("/events"), "GET"), (post("/events"), "POST")])
async def test_events_pass_and_the_stream_ends(decorator: Any, method: str) -> None:
    broadcaster = permissive()
    exchange = await ask_and_join(app_of(broadcaster, decorator, middleware=[passing]), broadcaster, method)
    for number in (1, 2):
        broadcaster.broadcast("message", str(number))
        await until(lambda number=number: exchange.text.endswith(message(str(number))))
    assert not exchange.complete
    broadcaster.close()
    await exchange.end()
    assert exchange.complete
    assert exchange.status == 200
    assert exchange.headers == [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
        (b"x-passed", b"1"),
    ]
    assert exchange.bodies == [part.encode() for part in (message("", "hello"), message("1"), message("2"), "")]


async def test_a_client_that_leaves_is_gone() -> None:
    broadcaster = permissive()
    tasks = asyncio.all_tasks()
    exchange = await ask_and_join(app_of(broadcaster), broadcaster)
    exchange.leave()
    await exchange.end()
    assert broadcaster.client_count == 0 and not exchange.complete
    await turns()
    assert asyncio.all_tasks() == tasks


async def test_head_gets_the_headers_and_an_end() -> None:
    broadcaster = permissive()
    decorator = route("/events", http_method=["GET", "HEAD"])
    exchange = await ask(app_of(broadcaster, decorator), "HEAD").end()
    assert exchange.complete and exchange.text == ""
    assert (exchange.status, dict(exchange.headers)[b"content-type"]) == (200, b"text/event-stream")
    assert broadcaster.client_count == 0


async def test_an_event_stream_is_a_return_value_too() -> None:
    @get("/events")
    async def events() -> ASGIApp:
        return stream

    broadcaster = permissive()
    stream = EventStream(broadcaster, headers=[("x-ours", "1")])
    exchange = await ask_and_join(Litestar([events]), broadcaster)
    assert exchange.headers[-1] == (b"x-ours", b"1")
    exchange.leave()
    await exchange.end()


async def test_a_wrong_initial_event_raises_in_the_handler() -> None:
    @get("/events")
    async def events(request: Request) -> ASGIApp:
        for wrong in ([("a\nb", "")], lambda start: []):
            with pytest.raises((ValueError, TypeError)):
                await broadcaster.stream(request, initial=wrong)
        return await broadcaster.stream(request)

    broadcaster = permissive()
    exchange = await ask_and_join(Litestar([events]), broadcaster)
    exchange.leave()
    await exchange.end()


def test_the_schema_can_be_made() -> None:
    assert "/events" in app_of(permissive()).openapi_schema.to_schema()["paths"]
