"""EventStreamResponse and sse_route in applications of Starlette and FastAPI."""

import asyncio
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from exchange import Exchange, ask, until
from fastapi import BackgroundTasks, Depends, FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from support import message, permissive, run_python, turns

from fastware_sse import Broadcaster, _deadline, sse_route
from fastware_sse.starlette import EventStreamResponse

STREAM = message("", "hello") + message("1") + message("2")


def starlette_of(endpoint: Callable[[Request], Any], *middleware: Middleware, **options: Any) -> Starlette:
    return Starlette(routes=[Route("/events", endpoint, **options)], middleware=list(middleware))


def fastapi_of(endpoint: Callable[..., Any], **options: Any) -> FastAPI:
    app = FastAPI()
    app.add_api_route("/events", endpoint, response_class=EventStreamResponse, **options)
    return app


async def ask_and_join(app: Any, broadcaster: Broadcaster, *arguments: Any) -> Exchange:
    """A client that has got the first body."""
    exchange = ask(app, *arguments)
    await until(lambda: len(exchange.messages) == 2 or exchange.task.done())
    assert broadcaster.client_count == 1
    return exchange


async def assert_streams(app: Any, broadcaster: Broadcaster, *arguments: Any) -> Exchange:
    """Events pass one by one, and the stream ends when the Broadcaster is closed."""
    exchange = await ask_and_join(app, broadcaster, *arguments)
    for number in (1, 2):
        broadcaster.broadcast("message", str(number))
        await until(lambda number=number: exchange.text.endswith(message(str(number))))
    assert not exchange.complete
    broadcaster.close()
    await exchange.end()
    assert exchange.complete
    assert (exchange.status, dict(exchange.headers)[b"content-type"]) == (200, b"text/event-stream")
    assert exchange.text in (STREAM, STREAM.replace(message("", "hello"), ":\n\n"))
    return exchange


def test_it_is_a_response_of_theirs_that_documents_itself() -> None:
    response = EventStreamResponse(permissive())
    assert isinstance(response, Response)
    assert EventStreamResponse.media_type == response.media_type == "text/event-stream"
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"


# ---- every way to write a route ----


def by_response(broadcaster: Broadcaster) -> Callable[..., Any]:
    async def events(request: Request) -> EventStreamResponse:
        return EventStreamResponse(broadcaster, initial=[("hello", "")])

    return events


def by_sync_handler(broadcaster: Broadcaster) -> Callable[..., Any]:
    def events(request: Request) -> EventStreamResponse:
        return EventStreamResponse(broadcaster, initial=[("hello", "")])

    return events


def by_stream(broadcaster: Broadcaster) -> Callable[..., Any]:
    async def events(request: Request) -> Any:
        response = await broadcaster.stream(request, initial=[("hello", "")])
        assert isinstance(response, EventStreamResponse)
        return response

    return events


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("make", [by_response, by_sync_handler, by_stream, sse_route])
@pytest.mark.parametrize("app_of", [starlette_of, fastapi_of])
async def test_events_pass_and_the_stream_ends(app_of: Any, make: Any, method: str) -> None:
    broadcaster = permissive()
    exchange = await assert_streams(app_of(make(broadcaster), methods=[method]), broadcaster, method)
    assert exchange.headers == [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
    ]


@pytest.mark.parametrize("app_of", [starlette_of, fastapi_of])
async def test_a_client_that_leaves_is_gone(app_of: Any) -> None:
    broadcaster = permissive()
    tasks = asyncio.all_tasks()
    exchange = await ask_and_join(app_of(sse_route(broadcaster)), broadcaster)
    exchange.leave()
    await exchange.end()
    assert broadcaster.client_count == 0 and not exchange.complete
    await turns()
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("app_of", [starlette_of, fastapi_of])
async def test_events_that_wait_together_leave_together(app_of: Any) -> None:
    broadcaster = permissive()
    exchange = await ask_and_join(app_of(sse_route(broadcaster)), broadcaster)
    for number in range(100):
        broadcaster.broadcast("message", str(number))
    await until(lambda: len(exchange.messages) > 2)
    assert exchange.bodies[1:] == ["".join(message(str(number)) for number in range(100)).encode()]
    broadcaster.close()
    await exchange.end()


@pytest.mark.parametrize("app_of", [starlette_of, fastapi_of])
async def test_head_gets_the_headers_and_an_end(app_of: Any) -> None:
    broadcaster = permissive()
    exchange = await ask(app_of(sse_route(broadcaster), methods=["GET", "HEAD"]), "HEAD").end()
    assert exchange.complete and exchange.text == ""
    assert (exchange.status, dict(exchange.headers)[b"content-type"]) == (200, b"text/event-stream")
    assert broadcaster.client_count == 0


# ---- what a response of theirs can do ----


async def test_status_headers_and_cookies_arrive() -> None:
    async def events(request: Request) -> EventStreamResponse:
        headers = {"X-From": "Löwe", "Cache-Control": "no-store"}
        response = EventStreamResponse(broadcaster, headers=headers, status_code=202)
        response.headers["X-Later"] = "1"
        response.set_cookie("seen", "yes", httponly=True)
        return response

    broadcaster = permissive()
    exchange = await ask_and_join(starlette_of(events), broadcaster)
    assert exchange.status == 202
    assert exchange.headers == [
        (b"content-type", b"text/event-stream"),
        (b"x-accel-buffering", b"no"),
        (b"x-from", "Löwe".encode("latin-1")),
        (b"cache-control", b"no-store"),
        (b"x-later", b"1"),
        (b"set-cookie", b"seen=yes; HttpOnly; Path=/; SameSite=lax"),
    ]
    exchange.leave()
    await exchange.end()


async def test_headers_of_one_response_are_not_those_of_the_next() -> None:
    broadcaster = permissive()
    EventStreamResponse(broadcaster).set_cookie("a", "b")
    assert "set-cookie" not in EventStreamResponse(broadcaster).headers


@pytest.mark.parametrize("by", ["end", "disconnect"])
async def test_the_background_task_runs_once_the_stream_is_over(by: str) -> None:
    async def events(request: Request) -> EventStreamResponse:
        return EventStreamResponse(broadcaster, background=BackgroundTask(lambda: counts.append(clients())))

    counts: list[int] = []
    broadcaster = permissive()
    clients = lambda: broadcaster.client_count  # noqa: E731
    exchange = await ask_and_join(starlette_of(events), broadcaster)
    broadcaster.broadcast("message", "1")
    await turns(8)
    assert counts == []
    broadcaster.close() if by == "end" else exchange.leave()
    await exchange.end()
    assert counts == [0]


async def test_what_fastapi_injects_lives_as_long_as_the_stream() -> None:
    async def connection() -> Any:
        seen.append("opened")
        yield
        seen.append("closed")

    async def events(tasks: BackgroundTasks, _: None = Depends(connection)) -> EventStreamResponse:
        tasks.add_task(seen.append, "task")
        return EventStreamResponse(broadcaster)

    seen: list[str] = []
    broadcaster = permissive()
    exchange = await ask_and_join(fastapi_of(events), broadcaster)
    assert seen == ["opened"]
    exchange.leave()
    await exchange.end()
    assert seen == ["opened", "task", "closed"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"initial": [(1, "x")]}, TypeError),
        ({"initial": [("a\nb", "x")]}, ValueError),
        ({"initial": [("a", b"x")]}, TypeError),
        ({"initial": [("a", "\ud800")]}, UnicodeEncodeError),
        ({"initial": {"a": "x"}}, TypeError),
        ({"headers": {"Content-Length": "1"}}, ValueError),
        ({"headers": {"X-A": "a\r\nb: c"}}, ValueError),
        ({"send_timeout": 0}, ValueError),
        ({"send_timeout": "1"}, TypeError),
    ],
    ids=repr,
)
async def test_a_wrong_argument_raises_in_the_handler(wrong: dict[str, Any], error: type[Exception]) -> None:
    async def events(request: Request) -> Any:
        with pytest.raises(error):
            EventStreamResponse(broadcaster, **wrong)
        if "initial" in wrong:
            with pytest.raises(error):
                await broadcaster.stream(request, **wrong)
        refused.append(wrong)
        return EventStreamResponse(broadcaster)

    refused: list[Any] = []
    broadcaster = permissive()
    await assert_streams(starlette_of(events), broadcaster)
    assert refused == [wrong]


async def test_a_response_does_not_keep_its_initial_events() -> None:
    async def events(request: Request) -> EventStreamResponse:
        return EventStreamResponse(broadcaster, initial=[("large", "x" * 1_000_000)])

    broadcaster = permissive()
    app = starlette_of(events)
    tracemalloc.start()
    try:
        exchange = await ask_and_join(app, broadcaster)
        exchange.messages.clear()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500_000
    exchange.leave()
    await exchange.end()


async def test_a_response_with_initial_events_is_for_one_client(caplog: pytest.LogCaptureFixture) -> None:
    broadcaster = permissive()
    many, one = EventStreamResponse(broadcaster), EventStreamResponse(broadcaster, initial=[("hello", "")])
    exchanges = [ask(app) for app in (many, many, one)]
    await until(lambda: broadcaster.client_count == 3)
    refused = await ask(one).end()
    assert (refused.status, broadcaster.client_count) == (500, 3)
    assert "is for one client" in caplog.text
    for exchange in exchanges:
        exchange.leave()
        await exchange.end()


def test_what_is_no_broadcaster_is_refused() -> None:
    with pytest.raises(TypeError, match="^broadcaster must be a Broadcaster, not dict"):
        EventStreamResponse({})  # type: ignore[arg-type]


async def test_a_client_that_has_stopped_reading_is_dropped() -> None:
    async def events(request: Request) -> EventStreamResponse:
        return EventStreamResponse(broadcaster, send_timeout=0.05)

    broadcaster = permissive()
    exchange = await ask_and_join(starlette_of(events), broadcaster)
    exchange.allowed = 2
    broadcaster.broadcast("message", "1")
    await exchange.end()
    assert broadcaster.client_count == 0


async def test_streams_share_their_deadlines_while_there_are_any() -> None:
    broadcaster = permissive()
    loop = asyncio.get_running_loop()
    app, other = (starlette_of(lambda _, t=t: EventStreamResponse(broadcaster, send_timeout=t)) for t in (0.05, 0.06))
    exchanges = [ask(app), ask(app), ask(other)]
    await until(lambda: broadcaster.client_count == 3)
    assert sorted(_deadline._deadlines[loop]) == [0.05, 0.06]
    for exchange in exchanges:
        exchange.leave()
        await exchange.end()
    await until(lambda: not _deadline._deadlines[loop])  # their timers have fired for the last time


# ---- middleware ----


class PassThrough(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        response.headers.append("x-passed", "1")
        return response


async def test_gzip_middleware_leaves_the_stream_alone() -> None:
    broadcaster = permissive()
    app = starlette_of(by_response(broadcaster), Middleware(GZipMiddleware, minimum_size=1))
    exchange = await assert_streams(app, broadcaster, "GET", (b"accept-encoding", b"gzip"))
    assert b"content-encoding" not in dict(exchange.headers)


async def test_base_http_middleware_passes_events_and_the_end_on() -> None:
    broadcaster = permissive()
    app = starlette_of(by_response(broadcaster), Middleware(PassThrough), Middleware(PassThrough))
    exchange = await assert_streams(app, broadcaster)
    assert exchange.headers[-2:] == [(b"x-passed", b"1"), (b"x-passed", b"1")]


async def test_base_http_middleware_passes_the_disconnect_on() -> None:
    broadcaster = permissive()
    tasks = asyncio.all_tasks()
    exchange = await ask_and_join(starlette_of(by_response(broadcaster), Middleware(PassThrough)), broadcaster)
    exchange.leave()
    await exchange.end()
    assert broadcaster.client_count == 0
    await turns()
    assert asyncio.all_tasks() == tasks


# ---- sse_route, and what FastAPI reads from it ----


def test_sse_route_may_be_called_before_fastapi_is_imported() -> None:
    run_python("""
import sys, typing
from fastware_sse import Broadcaster, sse_route
route = sse_route(Broadcaster())
assert "starlette" not in sys.modules
assert typing.get_type_hints(route) == {"request": typing.Any}
import fastapi
app = fastapi.FastAPI()
app.get("/events")(route)
assert app.openapi()["paths"]["/events"]["get"].get("parameters") is None
""")


def test_fastapi_documents_text_event_stream() -> None:
    app = FastAPI()
    app.get("/response", response_class=EventStreamResponse)(by_response(permissive()))
    app.get("/route", response_class=EventStreamResponse)(sse_route(permissive()))
    app.get("/undocumented")(sse_route(permissive()))
    paths = app.openapi()["paths"]
    for path in ("/response", "/route"):
        assert list(paths[path]["get"]["responses"]) == ["200"]
        assert list(paths[path]["get"]["responses"]["200"]["content"]) == ["text/event-stream"]
    assert all("parameters" not in path["get"] for path in paths.values())
