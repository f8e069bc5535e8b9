"""The ASGI responder, driven by a receive and a send of the tests' own: what it says, when, and how it ends."""

import asyncio
import gc
import inspect
import logging
import signal
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from exchange import Exchange, connect
from support import message, permissive, turns

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream, Start

KIB = 1024


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock the test moves on."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


loop_factory = Loop


async def skip(seconds: float) -> None:
    asyncio.get_running_loop().skipped += seconds
    await turns(8)


@asynccontextmanager
async def unharmed(app: EventStream) -> AsyncIterator[None]:
    """Clients that stand beside whatever the block does, and get all events; nothing else is left behind."""
    broadcaster, tasks = app.broadcaster, asyncio.all_tasks()
    before = await connect(app)
    yield
    after = await connect(app)
    await turns(8)
    assert broadcaster.client_count == 2
    assert len(asyncio.all_tasks() - tasks) == 4
    broadcaster.broadcast("last", "")
    await turns()
    for exchange in (before, after):
        assert exchange.text.endswith(message("", "last"))
        exchange.leave()
        await exchange.end()
    await turns()
    assert asyncio.all_tasks() == tasks


def records(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.getMessage().split(";")[0])
        for record in caplog.records
        if record.name == "fastware_sse"
    ]


# ---- the response ----


async def test_start_and_a_first_body_come_at_once() -> None:
    broadcaster = permissive()
    exchange = await connect(EventStream(broadcaster))
    assert exchange.messages == [
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"text/event-stream"),
                (b"cache-control", b"no-cache, no-transform"),
                (b"x-accel-buffering", b"no"),
            ],
        },
        {"type": "http.response.body", "body": b":\n\n", "more_body": True},
    ]
    assert broadcaster.client_count == 1
    broadcaster.broadcast("message", "x")
    await turns()
    assert exchange.bodies[1:] == [message("x").encode()]
    broadcaster.close()
    await exchange.end()
    assert exchange.complete and exchange.bodies[2:] == [b""]
    assert broadcaster.client_count == 0


@pytest.mark.parametrize(
    ("retry", "initial", "first"),
    [
        (2, None, "retry: 2000\n\n"),
        (None, [("a", "1"), ("b", {"n": 2})], message("1", "a") + message('{"n":2}', "b")),
        (2, [("a", "1")], "retry: 2000\n\n" + message("1", "a")),
        (None, [], ":\n\n"),
        (None, lambda start: [("a", "1")], message("1", "a")),
        (2, lambda start: [], "retry: 2000\n\n"),
        (None, lambda start: None, ":\n\n"),
    ],
)
async def test_the_first_body(retry: Any, initial: Any, first: str) -> None:
    app = EventStream(permissive(retry=retry), initial=initial)
    for _ in range(2):
        exchange = await connect(app)
        assert exchange.bodies == [first.encode()]
        exchange.leave()
        await exchange.end()


async def test_the_events_of_a_list_are_formatted_once_for_all() -> None:
    app = EventStream(permissive(), initial=[("a", "x" * 1000)] * 100)
    one, two = await connect(app), await connect(app)
    assert [len(body) for body in one.bodies] == [64 * 1017, 36 * 1017]
    for mine, yours in zip(one.bodies, two.bodies, strict=True):
        assert mine is yours
    one.leave()
    two.leave()


async def test_each_stream_draws_its_own_retry() -> None:
    app = EventStream(permissive(retry=(1, 100)), initial=[("a", "1")])
    first = [(await connect(app)).bodies[0] for _ in range(5)]
    assert len(set(first)) > 1
    app.broadcaster.close()
    await turns()


async def test_headers_of_the_caller() -> None:
    app = EventStream(
        permissive(),
        headers=[
            ("X-One", "1"),
            (b"set-cookie", b"a=\xe9"),
            ("Set-Cookie", "b=\xe9"),
            ["cache-control", "no-store"],
        ],
    )
    exchange = await connect(app)
    assert sorted(exchange.headers) == [
        (b"cache-control", b"no-store"),
        (b"content-type", b"text/event-stream"),
        (b"set-cookie", b"a=\xe9"),
        (b"set-cookie", b"b=\xe9"),
        (b"x-accel-buffering", b"no"),
        (b"x-one", b"1"),
    ]
    exchange.leave()


async def test_middleware_may_add_to_the_headers_of_one_response() -> None:
    app = EventStream(permissive())
    first = await connect(app)
    first.headers.append((b"x-request-id", b"1"))
    second = await connect(app)
    assert len(second.headers) == 3
    first.leave()
    second.leave()


@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", b"a\r\nb: c", "\n", "a\u20ac"])
def test_headers_that_would_forge_others_are_refused(bad: str | bytes, where: int) -> None:
    pair: list[str | bytes] = ["x-a", "b"]
    pair[where] = bad
    with pytest.raises(ValueError, match="^headers must"):
        EventStream(permissive(), headers=[tuple(pair)])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "name",
    ["Content-Type", "content-length", "Transfer-Encoding", "connection", "keep-alive", "upgrade", "proxy-connection"]
    + ["", " ", "a b", "a:", "ä"],
)
def test_header_names_that_are_not_the_callers_to_set_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="^headers must not contain"):
        EventStream(permissive(), headers=[(name, "x")])


@pytest.mark.parametrize(
    "headers",
    [None, 5, "ab", b"ab", {"x-a": "b"}, ["ab"], [("a",)], [("a", "b", "c")], [(1, "b")], [("a", None)], [("a", 5)]],
)
def test_headers_of_wrong_types_are_refused(headers: Any) -> None:
    with pytest.raises(TypeError, match="^headers must be"):
        EventStream(permissive(), headers=headers)


@pytest.mark.parametrize(
    ("error", "name", "value"),
    [
        (TypeError, "initial", "ab"),
        (TypeError, "initial", [("a",)]),
        (TypeError, "initial", {"a": 1}),
        (TypeError, "authorize", True),
        (TypeError, "send_timeout", "30"),
        (TypeError, "send_timeout", True),
        (ValueError, "send_timeout", 0),
        (ValueError, "send_timeout", -1),
        (ValueError, "send_timeout", float("nan")),
        (ValueError, "send_timeout", float("inf")),
        (ValueError, "send_timeout", 10**400),
        (ValueError, "send_timeout", 10_000_001),
        (ValueError, "send_timeout", 0.0009),
    ],
)
def test_wrong_arguments_are_refused(error: type[Exception], name: str, value: Any) -> None:
    with pytest.raises(error, match=f"^{name}"):
        EventStream(permissive(), **{name: value})


@pytest.mark.parametrize("seconds", [0.001, 1, 10_000_000, Decimal("1.5"), Fraction(3, 2), None])
def test_send_timeouts_that_are_accepted(seconds: Any) -> None:
    kept = EventStream(permissive(), send_timeout=seconds).send_timeout
    assert kept == seconds and type(kept) in (float, type(None))


@pytest.mark.parametrize("broadcaster", [None, "b", Broadcaster, object()])
def test_nothing_but_a_broadcaster_is_served(broadcaster: Any) -> None:
    with pytest.raises(TypeError, match="^broadcaster must be a Broadcaster, not "):
        EventStream(broadcaster)
    with pytest.raises(TypeError):
        EventStream(permissive(), [])  # type: ignore[misc]  # all but the first are keywords


def test_initial_events_are_checked_at_construction() -> None:
    with pytest.raises(ValueError):
        EventStream(permissive(), initial=[("a\nb", "")])
    with pytest.raises(UnicodeEncodeError):
        EventStream(permissive(), initial=[("a", "\ud800")])


# ---- methods, and what is not HTTP ----


async def test_head_gets_the_headers_and_an_end_and_is_no_client() -> None:
    called = []
    app = EventStream(permissive(), initial=called.append, headers=[("x-a", "b")], authorize=lambda scope: turns(2))
    get = await connect(app)
    assert len(called) == 1
    called.clear()
    head = Exchange(app, "HEAD")
    head.leave()  # granian says so at once
    await head.end()
    assert head.messages == [get.messages[0], {"type": "http.response.body", "body": b"", "more_body": False}]
    assert app.broadcaster.client_count == 1
    assert not called
    get.leave()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "CONNECT", "BREW"])
async def test_other_methods_are_not_allowed(method: str) -> None:
    app = EventStream(permissive(), authorize=lambda scope: pytest.fail("asked"))
    exchange = await Exchange(app, method).end()
    assert exchange.status == 405
    assert dict(exchange.headers)[b"allow"] == b"GET, HEAD"
    assert dict(exchange.headers)[b"content-length"] == str(len(exchange.text)).encode()
    assert exchange.complete and len(exchange.messages) == 2
    assert app.broadcaster.client_count == 0


@pytest.mark.parametrize("scope", [{"http_version": "1.0"}, {"http_version": "2"}, {"path": "/a/b"}, {"path": ""}])
async def test_neither_the_path_nor_the_version_matters(scope: dict[str, str]) -> None:
    exchange = await connect(EventStream(permissive()), **scope)
    assert exchange.status == 200
    assert exchange.bodies == [b":\n\n"]
    assert b"connection" not in dict(exchange.headers)
    exchange.leave()


async def test_lifespan_gets_no_word() -> None:
    async def never(*message: Any) -> Any:
        pytest.fail("called")

    assert await EventStream(permissive())({"type": "lifespan"}, never, never) is None


async def test_a_websocket_is_refused() -> None:
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await EventStream(permissive())({"type": "websocket", "path": "/"}, receive, send)
    assert sent == [{"type": "websocket.close"}]


async def test_the_body_of_the_request_is_drained() -> None:
    app = EventStream(permissive())
    exchange = await connect(app)
    for _ in range(100):
        exchange.incoming.put_nowait({"type": "http.request", "body": b"x" * KIB, "more_body": True})
    await turns(250)
    assert exchange.incoming.empty()
    assert app.broadcaster.client_count == 1
    exchange.leave()
    await exchange.end()


async def test_a_receive_that_never_waits_does_not_stop_the_loop() -> None:
    exchange = Exchange(EventStream(permissive()))

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"} if enough else {"type": "http.request"}

    enough = False
    exchange.receive = receive  # type: ignore[method-assign]
    await turns(20)
    assert exchange.bodies == [b":\n\n"]
    enough = True
    await exchange.end()


# ---- authorize ----


def sync_and_async(function: Callable[[Any], Any]) -> list[Callable[[Any], Any]]:
    async def asynchronous(argument: Any) -> Any:
        await asyncio.sleep(0)
        return function(argument)

    return [function, asynchronous]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("verdict", [None, True])
async def test_authorize_admits(verdict: bool | None, is_async: bool) -> None:
    scopes = []
    app = EventStream(permissive(), authorize=sync_and_async(lambda scope: scopes.append(scope) or verdict)[is_async])
    exchange = await connect(app)
    assert exchange.status == 200
    assert len(scopes) == 1 and scopes[0] is exchange.scope
    assert (await Exchange(app, "HEAD").end()).status == 200
    exchange.leave()


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("verdict", "status", "text"),
    [(False, 403, "Forbidden"), ((401, "wer bist du, Löwe?"), 401, "wer bist du, Löwe?"), ((599, ""), 599, "")],
)
async def test_authorize_refuses_with_a_whole_response(
    verdict: Any, status: int, text: str, method: str, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = EventStream(permissive(), authorize=sync_and_async(lambda scope: verdict)[is_async])
    async with refused(app, method) as exchange:
        assert exchange.status == status
        assert exchange.text == (text if method == "GET" else "")
        assert dict(exchange.headers) == {
            b"content-type": b"text/plain; charset=utf-8",
            b"content-length": str(len(text.encode())).encode(),
        }
    assert not records(caplog)


@asynccontextmanager
async def refused(app: EventStream, method: str = "GET") -> AsyncIterator[Exchange]:
    tasks = asyncio.all_tasks()
    exchange = await Exchange(app, method).end()
    assert exchange.complete and len(exchange.messages) == 2
    yield exchange
    await turns()
    assert app.broadcaster.client_count == 0
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "verdict",
    [0, 1, "", "no", [], (), (403,), (403, b"no"), ("403", "no"), (200, "yes"), (301, "there"), (600, ""), (True, "")]
    + [(403, "no", 1), [403, "no"], (403, "\ud800"), {}, object()],
    ids=repr,
)
async def test_any_other_verdict_is_logged_and_answered_500(
    verdict: Any, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = EventStream(permissive(), authorize=sync_and_async(lambda scope: verdict)[is_async])
    async with refused(app) as exchange:
        assert exchange.status == 500
    assert records(caplog) == [("ERROR", "authorize() of an EventStream failed")]


@pytest.mark.parametrize("is_async", [False, True])
async def test_authorize_that_raises(is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    app = EventStream(permissive(), authorize=sync_and_async(lambda scope: {}[5])[is_async])
    async with refused(app) as exchange:
        assert exchange.status == 500
        assert "5" not in exchange.text
    assert records(caplog) == [("ERROR", "authorize() of an EventStream failed")]


@pytest.mark.parametrize("stubborn", [False, True])
async def test_the_client_leaves_while_authorize_hangs(stubborn: bool) -> None:
    async def authorize(scope: Any) -> bool:
        if scope["path"] == "/x":
            return True
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if not stubborn:
                raise
        return True

    app = EventStream(permissive(), authorize=authorize)
    async with unharmed(app):
        exchange = await connect(app, path="/hang")
        assert app.broadcaster.client_count == 1
        exchange.leave()
        await exchange.end()
        assert not exchange.messages


async def test_a_head_whose_authorize_hangs_is_answered_in_the_end() -> None:
    """Nobody watches for its client to leave, and servers say of HEAD that it has left when it has not."""

    async def authorize(scope: Any) -> None:
        await asyncio.get_running_loop().create_future()

    app = EventStream(permissive(), authorize=authorize, send_timeout=0.05)
    exchange = Exchange(app, "HEAD")
    await exchange.end()
    assert exchange.messages[0]["status"] == 503


async def is_cancelled_elsewhere(_: object) -> Any:
    """As what awaits a task that somebody else has cancelled."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@pytest.mark.parametrize("option", ["authorize", "initial"])
async def test_a_cancellation_of_something_else_is_an_error_like_any_other(
    option: str, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Exchange(EventStream(permissive(), **{option: is_cancelled_elsewhere}))
    await exchange.end()
    assert exchange.messages[0]["status"] == 500
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# ---- initial ----


@pytest.mark.parametrize("is_async", [False, True])
async def test_no_event_falls_between_the_snapshot_and_the_live_ones(is_async: bool) -> None:
    broadcaster = permissive()
    number = 0

    def count() -> None:
        nonlocal number
        number += 1
        broadcaster.broadcast("n", str(number))

    def snapshot(start: Start) -> list[tuple[str, str]]:
        assert start.scope["path"] == "/x"
        assert broadcaster.client_count == 1
        taken = [("snapshot", str(number))]
        count()
        return taken

    async def snapshot_later(start: Start) -> list[tuple[str, str]]:
        taken = snapshot(start)
        for _ in range(3):
            await asyncio.sleep(0)
            count()
        return taken

    count()
    exchange = Exchange(EventStream(broadcaster, initial=snapshot_later if is_async else snapshot))
    count()
    await turns(10)
    count()
    await turns()
    live = [message(str(n), "n") for n in range(3, number + 1)]
    assert exchange.text == message("2", "snapshot") + "".join(live)
    exchange.leave()


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("made", ["ab", [("a",)], [("a\nb", "")], [("a", b"")], [("a", "\ud800")], 5, KeyError("x")])
async def test_an_error_in_initial_ends_that_stream_alone(
    made: Any, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def make(start: Start) -> Any:
        if start.scope["path"] == "/x":
            return []
        if isinstance(made, Exception):
            raise made
        return made

    app = EventStream(permissive(), initial=sync_and_async(make)[is_async])
    async with unharmed(app):
        exchange = await Exchange(app, path="/bad").end()
        assert exchange.status == 500
        assert exchange.complete and len(exchange.messages) == 2
        assert app.broadcaster.client_count == 1
    assert records(caplog) == [("ERROR", "the initial events of a stream failed")]


async def test_each_stream_has_initial_events_of_its_own() -> None:
    app = EventStream(permissive(), initial=lambda start: [("path", start.scope["path"])])
    for path in ("/a", "/b"):
        exchange = await connect(app, path=path)
        assert exchange.text == message(path, "path")
        exchange.leave()


async def test_initial_may_be_larger_than_a_body() -> None:
    events = [("a", "x" * 1000)] * 200 + [("b", "y" * 100_000)] + [("c", "z")] * 3
    for initial in (events, lambda start: events):
        exchange = await connect(EventStream(permissive(retry=1), initial=initial))
        assert exchange.text == "retry: 1000\n\n" + "".join(message(data, event) for event, data in events)
        assert [len(body) > 64 * KIB for body in exchange.bodies].count(True) == 1
        assert all(body.endswith(b"\n\n") for body in exchange.bodies)
        assert len(exchange.bodies) < 8
        exchange.leave()


async def test_the_retry_line_does_not_make_a_body_too_large() -> None:
    full = "x" * (64 * KIB - len(message("", "a")))
    exchange = await connect(EventStream(permissive(retry=1), initial=[("a", full)]))
    assert exchange.bodies == [b"retry: 1000\n\n", message(full, "a").encode()]
    exchange.leave()


async def test_an_override_may_format_an_event_as_nothing() -> None:
    class Reticent(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            return data and super()._format_sse(event, data)

    exchange = await connect(EventStream(Reticent(), initial=[("a", ""), ("a", "")]))
    assert exchange.bodies == [b":\n\n"]
    exchange.leave()


# ---- bodies ----


async def test_events_that_wait_together_leave_together_as_the_same_object_for_all() -> None:
    broadcaster = permissive(0)
    app = EventStream(broadcaster)
    exchanges = [await connect(app) for _ in range(3)]
    texts = ["x" * KIB] * 200 + ["y" * 100_000] + ["z"] * 10
    for text in texts:
        broadcaster.broadcast("message", text)
    await turns(20)
    first = exchanges[0]
    assert first.text == ":\n\n" + "".join(map(message, texts))
    assert [len(body) for body in first.bodies if len(body) > 64 * KIB] == [len(message(texts[200]))]
    assert len(first.bodies) == 1 + 4 + 1 + 1
    for exchange in exchanges[1:]:
        assert len(exchange.bodies) == len(first.bodies)
        for mine, yours in zip(first.bodies[1:], exchange.bodies[1:], strict=True):
            assert mine is yours
    for exchange in exchanges:
        exchange.leave()


@pytest.mark.parametrize("size", [10, 50_000, 70_000])
@pytest.mark.parametrize("where", ["initial", "live", "one by one"])
async def test_others_have_a_turn_after_at_most_64_kib(where: str, size: int) -> None:
    events = [("e", "x" * size)] * (1_000_000 // size)
    total = len(events) * size
    broadcaster = permissive(0)
    app = EventStream(broadcaster, initial=events if where == "initial" else None)
    exchange = Exchange(app)
    loop = asyncio.get_running_loop()
    turns_had = [0]
    in_a_turn: list[int] = []

    def tick() -> None:
        turns_had.append(0)
        if not exchange.task.done():
            loop.call_soon(tick)

    async def send(message: dict[str, Any]) -> None:
        body = message.get("body", b"")
        if turns_had[-1] and turns_had[-1] + len(body) > 64 * KIB:
            in_a_turn.append(turns_had[-1] + len(body))
        turns_had[-1] += len(body)
        if where == "one by one" and events:
            broadcaster.broadcast(*events.pop())

    exchange.send = send  # type: ignore[method-assign]
    loop.call_soon(tick)
    if where == "live":
        await turns(8)
        for event, data in events:
            broadcaster.broadcast(event, data)
    await turns(60)
    assert not in_a_turn
    assert sum(turns_had) >= total
    exchange.leave()
    await exchange.end()


class NativeSend:
    """What granian's send returns: an awaitable, not a coroutine, whose iterator has neither throw nor close.

    The message is taken when send is called.
    """

    def __init__(self, exchange: Exchange, message: dict[str, Any]) -> None:
        exchange._check(message)
        exchange.messages.append(message)
        self.room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if len(exchange.messages) <= exchange.allowed:
            asyncio.get_running_loop().call_soon(lambda: self.room.done() or self.room.set_result(None))
        self._waits = True

    def __await__(self) -> "NativeSend":
        return self

    def __iter__(self) -> "NativeSend":
        return self

    def __next__(self) -> Any:
        if self._waits:
            self._waits = False
            self.room._asyncio_future_blocking = True
            return self.room
        raise StopIteration


async def test_a_send_that_is_not_a_coroutine() -> None:
    broadcaster = permissive()
    app = EventStream(broadcaster, send_timeout=5)
    async with unharmed(app):
        reading, blocked, leaving = Exchange(app), Exchange(app, allowed=3), Exchange(app, allowed=3)
        for exchange in (reading, blocked, leaving):
            exchange.send = lambda m, exchange=exchange: NativeSend(exchange, m)  # type: ignore[method-assign]
        await turns(20)
        broadcaster.broadcast("message", "1")
        await turns(8)
        broadcaster.broadcast("message", "2")
        await turns(8)
        assert reading.text == ":\n\n" + message("1") + message("2")
        leaving.leave()
        await leaving.end()
        assert not leaving.complete
        await skip(5.1)
        await skip(1.1)
        await blocked.end()
        reading.leave()
        await reading.end()


async def test_a_receive_that_was_cancelled_is_not_called_again() -> None:
    """It may go on raising that without having waited for anything."""

    class Counting(Exchange):
        calls = 0

        async def receive(self) -> dict[str, Any]:
            self.calls += 1
            return await super().receive()

    broadcaster = permissive()
    exchange = Counting(EventStream(broadcaster))
    await turns(8)
    calls = exchange.calls
    exchange.allowed = len(exchange.messages)  # the farewell takes its time
    exchange.task.cancel()
    await turns(8)
    assert (exchange.task.done(), exchange.calls) == (False, calls)
    await skip(1.5)
    assert await exchange.task == 1


async def test_events_are_sent_from_as_few_frames_however_deep_the_application_is() -> None:
    def nested(app: Any, depth: int) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)

        return nested(wrapped, depth - 1) if depth else app

    class Counting(Exchange):
        async def send(self, message: dict[str, Any]) -> None:
            self.frames = len(inspect.stack(0))
            await super().send(message)

    broadcaster = permissive()
    exchanges = [Counting(nested(EventStream(broadcaster), depth)) for depth in (0, 20)]
    await turns(8)
    broadcaster.broadcast("message", "x")
    broadcaster.close()
    await turns()
    assert [exchange.text for exchange in exchanges] == [":\n\n" + message("x")] * 2
    assert exchanges[0].frames == exchanges[1].frames
    for exchange in exchanges:
        await exchange.end()


@pytest.mark.parametrize("first", ["close", "leave"])
@pytest.mark.parametrize("between", range(6))
async def test_an_end_and_a_disconnect_at_the_same_time(first: str, between: int) -> None:
    broadcaster = permissive()
    app = EventStream(broadcaster)
    exchanges = [await connect(app) for _ in range(3)]
    for what in (first, {"close": "leave", "leave": "close"}[first]):
        broadcaster.close() if what == "close" else [exchange.leave() for exchange in exchanges]
        await turns(between)
    for exchange in exchanges:
        await exchange.end()
    await turns()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_one_extra_task_a_stream() -> None:
    app = EventStream(permissive())
    before = asyncio.all_tasks()
    exchanges = [await connect(app) for _ in range(10)]
    assert len(asyncio.all_tasks() - before) == 20
    for exchange in exchanges:
        exchange.leave()
        await exchange.end()
    await turns()
    assert asyncio.all_tasks() == before


# ---- a send that is blocked ----


async def blocked_client(app: EventStream, allowed: float = 2) -> Exchange:
    """A client that has stopped reading: what is sent after its first body is not taken."""
    exchange = await connect(app, allowed=allowed)
    app.broadcaster.broadcast("message", "x")
    await turns(8)
    assert exchange.blocked == 1
    return exchange


async def test_a_blocked_send_is_cancelled_in_time_and_the_farewell_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fastware_sse")
    app = EventStream(permissive(), send_timeout=3)
    async with unharmed(app):
        for _ in range(2):
            exchange = await blocked_client(app)
            assert app.broadcaster.client_count == 2
            await skip(2.9)
            assert (exchange.blocked, app.broadcaster.client_count) == (1, 2)
            await skip(0.2)
            assert (exchange.blocked, app.broadcaster.client_count) == (2, 1)
            await skip(0.8)
            assert not exchange.task.done()
            await skip(0.3)
            assert exchange.task.result() == 0
            assert len(exchange.messages) == 2
    assert records(caplog) == [("DEBUG", "dropped an SSE client that has stopped reading")] * 2
    assert app.broadcaster.stats()["stuck"] == 2


async def test_a_client_that_reads_again_gets_the_farewell() -> None:
    app = EventStream(permissive(), send_timeout=3)
    exchange = await blocked_client(app)
    exchange.allowed = 4
    await skip(3.1)
    await exchange.end()
    assert exchange.complete


@pytest.mark.parametrize("allowed", [0, 1])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_the_beginning_of_a_response_may_be_blocked_too(method: str, allowed: int) -> None:
    app = EventStream(permissive(), send_timeout=3)
    async with unharmed(app):
        exchange = await connect(app, method=method, allowed=allowed)
        await skip(3.1)
        await skip(1.1)
        await exchange.end()
        assert len(exchange.messages) == allowed


async def test_a_slow_reader_is_not_a_stuck_one() -> None:
    app = EventStream(permissive(0), send_timeout=3)
    exchange = Exchange(app)
    take = asyncio.Semaphore(0)

    async def send(message: dict[str, Any]) -> None:
        await take.acquire()
        exchange.messages.append(message)

    exchange.send = send  # type: ignore[method-assign]
    await turns()
    for number in range(10):
        await skip(2.5)
        assert app.broadcaster.client_count == 1
        take.release()
        await turns(8)
        app.broadcaster.broadcast("message", str(number))
    assert len(exchange.messages) == 10
    await skip(3.1)
    await skip(1.1)
    await exchange.end()


async def test_no_idle_stream_is_due_and_each_blocked_one_in_its_turn() -> None:
    app = EventStream(permissive(), send_timeout=3)
    idle = await connect(app)
    first = await blocked_client(app)
    await skip(1)
    second = await blocked_client(app)
    await skip(1)
    third = await blocked_client(app)
    assert app.broadcaster.client_count == 4
    for left in (3, 2, 1):
        await skip(1.02)
        assert app.broadcaster.client_count == left
    await skip(1.1)
    for exchange in (first, second, third):
        await exchange.end()
    await skip(1000)
    assert app.broadcaster.client_count == 1
    idle.leave()
    await idle.end()


async def test_without_a_timeout_nobody_is_dropped() -> None:
    app = EventStream(permissive(), send_timeout=None)
    exchange = await blocked_client(app)
    await skip(1e6)
    assert app.broadcaster.client_count == 1
    exchange.leave()
    await exchange.end()


async def test_a_client_that_leaves_while_it_is_blocked_gets_nothing_more() -> None:
    app = EventStream(permissive(), send_timeout=3)
    async with unharmed(app):
        exchange = await blocked_client(app)
        exchange.leave()
        await exchange.end()
        assert (exchange.blocked, len(exchange.messages)) == (1, 2)


async def test_both_at_once_leave_no_cancellation_behind() -> None:
    app = EventStream(permissive(), send_timeout=3)
    async with unharmed(app):
        exchange = await blocked_client(app)
        exchange.leave()
        asyncio.get_running_loop().skipped += 3.1
        await exchange.end()
        assert len(exchange.messages) == 2


@pytest.mark.parametrize("why", ["left", "stuck"])
async def test_a_send_that_swallows_the_cancellation(why: str) -> None:
    app = EventStream(permissive(), send_timeout=3)
    async with unharmed(app):
        exchange = Exchange(app, allowed=2)
        honest = exchange.send

        async def send(message: dict[str, Any]) -> None:
            try:
                await honest(message)
            except asyncio.CancelledError:
                exchange.allowed = 100

        exchange.send = send  # type: ignore[method-assign]
        await turns(8)
        app.broadcaster.broadcast("message", "x")
        await turns(8)
        if why == "left":
            exchange.leave()
        await skip(3.1)
        await exchange.end()
        assert len(exchange.messages) == (2 if why == "left" else 3)


async def test_deadlines_keep_no_loop_alive() -> None:
    app = EventStream(permissive(), send_timeout=1000)

    def serve_once() -> weakref.ref[asyncio.AbstractEventLoop]:
        async def main() -> None:
            exchange = await connect(app)
            exchange.leave()
            await exchange.end()

        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        return weakref.ref(loop)

    reference = await asyncio.to_thread(serve_once)
    gc.collect()
    assert reference() is None


# ---- clients that leave ----


async def test_a_client_that_leaves_is_no_client_any_more() -> None:
    app = EventStream(permissive())
    async with unharmed(app):
        exchange = await connect(app)
        exchange.leave()
        await exchange.end()
        assert not exchange.complete and exchange.bodies == [b":\n\n"]
        assert app.broadcaster.client_count == 1


async def test_a_client_that_leaves_at_any_step() -> None:
    app = EventStream(permissive(retry=1), initial=lambda start: asyncio.sleep(0, [("a", "b")]))
    async with unharmed(app):
        for steps in range(12):
            exchange = Exchange(app)
            await turns(steps)
            exchange.leave()
            app.broadcaster.broadcast("message", "x")
            await exchange.end()
            assert not exchange.complete


async def test_a_client_that_leaves_during_the_farewell() -> None:
    broadcaster = permissive()
    exchange = await connect(EventStream(broadcaster), allowed=2)
    broadcaster.close()
    await turns()
    assert exchange.blocked == 1
    exchange.leave()
    await exchange.end()


async def test_a_client_that_leaves_while_initial_is_made() -> None:
    async def make(start: Start) -> list[tuple[str, Any]]:
        return [] if start.scope["path"] == "/x" else await asyncio.get_running_loop().create_future()

    app = EventStream(permissive(), initial=make)
    async with unharmed(app):
        exchange = await connect(app, path="/hang")
        assert app.broadcaster.client_count == 2
        exchange.leave()
        await exchange.end()
        assert not exchange.messages


async def test_a_thousand_come_and_go() -> None:
    app = EventStream(permissive())
    async with unharmed(app):
        exchanges = [Exchange(app) for _ in range(1000)]
        await turns(3)
        app.broadcaster.broadcast("message", "x")
        for exchange in exchanges:
            exchange.leave()
        for exchange in exchanges:
            await exchange.end()


async def test_a_receive_that_raises_counts_as_gone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fastware_sse")
    app = EventStream(permissive())
    async with unharmed(app):
        exchange = await connect(app)
        exchange.incoming.put_nowait(RuntimeError("lost"))
        await exchange.end()
        assert not exchange.complete
    assert records(caplog) == [("DEBUG", "receive() failed")]


@pytest.mark.parametrize("allowed", [0, 1, 2])
@pytest.mark.parametrize(
    ("failure", "record"),
    [
        (OSError("gone"), ("DEBUG", "send() failed")),
        (ConnectionResetError(), ("DEBUG", "send() failed")),
        (RuntimeError("?"), ("ERROR", "a stream could not be sent")),
        (ValueError("?"), ("ERROR", "a stream could not be sent")),
    ],
)
async def test_a_send_that_raises_ends_that_stream_alone(
    failure: Exception, record: tuple[str, str], allowed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "fastware_sse")
    app = EventStream(permissive())
    async with unharmed(app):
        exchange = Exchange(app)
        send, calls = exchange.send, 0

        async def failing(message: dict[str, Any]) -> None:
            nonlocal calls
            calls += 1
            if len(exchange.messages) == allowed:
                raise failure
            await send(message)

        exchange.send = failing  # type: ignore[method-assign]
        await turns(8)
        app.broadcaster.broadcast("message", "x")
        await exchange.end()
        assert calls == allowed + 1
    assert records(caplog) == [record]


async def test_a_farewell_that_fails_is_nobodys_trouble(caplog: pytest.LogCaptureFixture) -> None:
    broadcaster = permissive()
    exchange = await connect(EventStream(broadcaster))
    exchange.failure = RuntimeError("already closed")
    broadcaster.close()
    await exchange.end()
    assert not exchange.complete
    assert not records(caplog)


# ---- the end of the server, and of the stream ----


async def cancelled(exchange: Exchange) -> int:
    """Cancel it as a server does; returns how many cancellations the application leaves to the server."""
    exchange.task.cancel()
    return await asyncio.wait_for(asyncio.shield(exchange.task), 5)


async def test_cancelled_by_the_server_it_says_farewell_and_returns() -> None:
    app = EventStream(permissive())
    async with unharmed(app):
        exchange = await connect(app)
        assert await cancelled(exchange) == 1  # the server's own
        assert exchange.complete


async def test_cancelled_by_the_server_while_it_is_blocked() -> None:
    app = EventStream(permissive(), send_timeout=30)
    async with unharmed(app):
        exchange = await blocked_client(app)
        exchange.task.cancel()
        await turns()
        assert (exchange.blocked, exchange.task.done()) == (2, False)
        await skip(1.1)
        assert await exchange.task == 1
        assert len(exchange.messages) == 2


async def test_cancelled_by_the_server_and_left_by_the_client() -> None:
    app = EventStream(permissive())
    async with unharmed(app):
        for client_first in (False, True):
            exchange = await connect(app)
            if client_first:
                exchange.leave()
                await asyncio.sleep(0)
            exchange.task.cancel()
            exchange.leave()
            assert await exchange.task == 1


async def test_cancelled_by_the_server_more_than_once() -> None:
    app = EventStream(permissive(), send_timeout=30)
    async with unharmed(app):
        exchange = await blocked_client(app)
        exchange.task.cancel()
        await turns()
        assert await cancelled(exchange) == 2
        assert (exchange.blocked, len(exchange.messages)) == (2, 2)


@pytest.mark.parametrize("where", ["authorize", "initial"])
async def test_cancelled_by_the_server_before_there_is_an_answer(where: str) -> None:
    async def hang(argument: Any) -> Any:
        if getattr(argument, "scope", argument)["path"] == "/hang":
            await asyncio.get_running_loop().create_future()

    app = EventStream(permissive(), **{where: hang})
    async with unharmed(app):
        exchange = await connect(app, path="/hang")
        exchange.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange.task
        assert not exchange.messages


async def test_a_pruned_client_gets_what_was_kept_for_it_and_an_end() -> None:
    broadcaster = permissive(2)
    exchange = await connect(EventStream(broadcaster))
    for number in range(3):
        broadcaster.broadcast("message", str(number))
    assert broadcaster.client_count == 0
    await exchange.end()
    assert exchange.text == ":\n\n" + message("0") + message("1")
    assert exchange.complete


async def test_after_close_a_stream_ends_at_once() -> None:
    broadcaster = permissive(retry=1)
    app = EventStream(broadcaster, initial=[("a", "b")])
    broadcaster.close()
    exchange = await Exchange(app).end()
    assert exchange.text == "retry: 1000\n\n" + message("b", "a")
    assert exchange.complete


async def test_heartbeats() -> None:
    exchange = await connect(EventStream(permissive(heartbeat_interval=0.01)))
    while len(exchange.bodies) < 4:
        await asyncio.sleep(0.001)
    assert exchange.bodies[1:] == [b": heartbeat\n\n"] * 3
    exchange.leave()
    await exchange.end()


async def test_sigterm_ends_the_streams_and_those_that_come_later() -> None:
    heard = []

    def server(number: int, frame: Any) -> None:
        heard.append(number)

    previous = signal.signal(signal.SIGTERM, server)
    try:
        app = EventStream(permissive())
        exchanges = [await connect(app) for _ in range(3)]
        late: list[Exchange] = []
        app.broadcaster.broadcast("message", "owed")
        signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        for exchange in exchanges:
            await exchange.end()
            assert exchange.complete and exchange.text.endswith(message("owed"))
        assert signal.getsignal(signal.SIGTERM) is server
        late.append(await Exchange(app).end())
        assert late[0].complete and late[0].text == ":\n\n"
        assert app.broadcaster.client_count == 0
    finally:
        signal.signal(signal.SIGTERM, previous)


async def test_a_request_that_ends_by_a_signal_lasts_a_little_longer_than_its_last_message() -> None:
    previous = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        exchange = await connect(EventStream(permissive()))
        signal.raise_signal(signal.SIGTERM)
        while not exchange.complete:
            await asyncio.sleep(0)
        await turns(3)  # in which a server may begin to stop
        assert await cancelled(exchange) == 1
    finally:
        signal.signal(signal.SIGTERM, previous)


async def test_without_graceful_exit_the_signal_is_the_servers_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    exchange = await connect(EventStream(permissive(graceful_exit=False)))
    assert signal.getsignal(signal.SIGTERM) is before
    exchange.leave()
    await exchange.end()


async def test_outside_an_asyncio_loop_it_says_what_it_needs() -> None:
    async def never(*message: Any) -> Any:
        raise AssertionError

    def step(application: Awaitable[None]) -> None:
        application.send(None)  # type: ignore[attr-defined]

    application = EventStream(permissive())({"type": "http", "method": "GET", "headers": []}, never, never)
    with pytest.raises(RuntimeError, match="need a running asyncio event loop"):
        await asyncio.to_thread(step, application)
