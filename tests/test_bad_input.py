"""Bad input: a clear error from the call that got it, nothing sent to anybody, and everything works on afterwards.

Failing allocations are in test_memory.py, cancellation and misused streams in test_cancel.py.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest
from support import connect, message, permissive, request

from fastware_sse import Broadcaster, _core, sse_route


class Unbool:
    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


def assert_refused(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert caught.type is error
    assert re.search(text, str(caught.value)), str(caught.value)


@asynccontextmanager
async def sends_nothing(broadcaster: Broadcaster) -> AsyncIterator[None]:
    """Whatever the block does reaches no client and no queue, and the next event reaches both."""
    client = await connect(broadcaster)
    queue: asyncio.Queue[str] = asyncio.Queue()
    broadcaster._clients.append(queue)
    before = broadcaster.stats()
    yield
    assert broadcaster.stats() == before
    broadcaster.broadcast("good", "x")
    assert await client.has(1) == [message("x", "good")]
    assert queue.get_nowait() == message("x", "good")
    assert queue.empty()
    broadcaster._clients.remove(queue)
    await client.leave()


# ---- the constructor ----

BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    *(({"buffer_size": bad}, TypeError, "^buffer_size must be an int, not ") for bad in ("1", 1.0, None, b"1", [1])),
    *(
        ({"heartbeat_interval": bad}, TypeError, "^heartbeat_interval must be a number of seconds or None, not ")
        for bad in ("1", b"1", True, [1], (1,), 1j, object())
    ),
    *(
        ({"heartbeat_interval": bad}, ValueError, "^heartbeat_interval must be None or a finite number .* above 0$")
        for bad in (0, 0.0, -0.0, -1, -0.5, float("nan"), float("inf"), -float("inf"), 10**400, -(10**400))
    ),
    *(
        ({"retry": bad}, TypeError, "^retry must be a number of seconds, a pair .*, or None, not ")
        for bad in ("1", b"1", True, [1, 2], {1: 2}, 1j, object(), ("1", 2), (1, "2"), (1, None), (True, 2))
    ),
    *(
        ({"retry": bad}, ValueError, "^retry must be between 0.1 and 2147483 seconds, and low not above high$")
        for bad in (0, 0.09, -1, float("nan"), float("inf"), 2147484, 10**400)
    ),
    *(
        ({"retry": bad}, ValueError, "^retry must be between 0.1 and 2147483 seconds, and low not above high$")
        for bad in ((0, 1), (2, 1), (1, float("inf")), (float("nan"), 1), (1, float("nan")), (0.05, 0.06))
    ),
    *(({"retry": bad}, ValueError, r"^retry must be .* a pair \(low, high\)") for bad in ((), (1,), (1, 2, 3))),
    ({"strict": Unbool()}, RuntimeError, "neither"),
    *(({"graceful_exit": bad}, TypeError, "^graceful_exit must be a bool, not ") for bad in ("no", 1, None, Unbool())),
    *(({"direct": bad}, TypeError, "^direct must be a bool, not ") for bad in ("no", 0, None, Unbool())),
    ({"history": None}, TypeError, "^history must be an int, not NoneType$"),
    ({"buffersize": 1}, TypeError, "keyword argument"),
]


@pytest.mark.parametrize(("options", "error", "text"), BAD_OPTIONS, ids=lambda value: repr(value)[:60])
def test_a_bad_option_is_refused_by_name_and_range(options: dict[str, Any], error: type[Exception], text: str) -> None:
    assert_refused(lambda: Broadcaster(**options), error, text)


@pytest.mark.parametrize(("options", "error", "text"), BAD_OPTIONS, ids=lambda value: repr(value)[:60])
async def test_a_second_init_that_is_refused_changes_nothing(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    broadcaster = Broadcaster(3, strict=False, heartbeat_interval=9, retry=8, graceful_exit=False)
    good = {"buffer_size": 4, "strict": True, "heartbeat_interval": 1, "retry": 1, "graceful_exit": True}
    assert_refused(lambda: broadcaster.__init__(**{**good, **options}), error, text)
    settings = [getattr(broadcaster, f"_{name}") for name in good]
    assert settings == [3, False, 9, 8, False]


async def test_init_is_refused_while_clients_are_connected() -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    async with sends_nothing(broadcaster):
        assert_refused(lambda: broadcaster.__init__(1), RuntimeError, r"__init__\(\) .* has clients")
        assert broadcaster._buffer_size == 256
    await client.leave()
    broadcaster.__init__(1, strict=False)
    assert broadcaster._buffer_size == 1


def test_positional_options_are_refused() -> None:
    assert_refused(lambda: Broadcaster(1, True), TypeError, "positional")


@pytest.mark.parametrize("size", [2**31, 2**63 - 1, 2**63, 10**30])
async def test_any_buffer_size_is_large_enough(size: int) -> None:
    broadcaster = permissive(size)
    async with sends_nothing(broadcaster):
        pass


# ---- register_event ----


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "text"),
    [
        (("m\n",), {}, ValueError, "^name must not contain CR, LF or NUL"),
        (("\ud800",), {}, UnicodeEncodeError, "surrogates"),
        ((None,), {}, TypeError, "^name must be a str, not NoneType$"),
        ((b"m",), {}, TypeError, "^name must be a str, not bytes$"),
        ((["m"],), {}, TypeError, "^name must be a str, not list$"),
        ((), {}, TypeError, "'name'"),
        (("a", "b"), {}, TypeError, "'name'"),
        ((), {"event": "a"}, TypeError, "'name'"),
        (("a",), {"name": "a"}, TypeError, "'name'"),
    ],
)
def test_register_event(arguments: Any, keywords: Any, error: type[Exception], text: str) -> None:
    broadcaster = Broadcaster()
    broadcaster.register_event("good")
    assert_refused(lambda: broadcaster.register_event(*arguments, **keywords), error, text)
    assert broadcaster.event_types == {"good"}


# ---- broadcast and _format_sse ----

BAD_CALLS: list[tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ((), {}, TypeError, "missing required argument: 'event'"),
    (("good",), {}, TypeError, "missing required argument: 'data'"),
    ((), {"data": "x"}, TypeError, "missing required argument: 'event'"),
    (("good", "x", "y"), {}, TypeError, r"takes 2 arguments \(3 given\)"),
    (("good", "x"), {"data": "y"}, TypeError, "multiple values for argument 'data'"),
    (("good", "x"), {"id": "1"}, TypeError, "unexpected keyword argument 'id'"),
    ((None, "x"), {}, TypeError, "^event must be a str, not NoneType$"),
    ((b"good", "x"), {}, TypeError, "^event must be a str, not bytes$"),
    ((["good"], "x"), {}, TypeError, "^event must be a str, not list$"),
    (("g\n", "x"), {}, ValueError, "^event must not contain CR, LF or NUL"),
    (("\ud800", "x"), {}, UnicodeEncodeError, "surrogates"),
    (("good", "\udc80"), {}, UnicodeEncodeError, "surrogates"),
    (("good", b"x"), {}, TypeError, "^data must be a str .*, not bytes; decode it first$"),
    (("good", bytearray()), {}, TypeError, "^data must be a str .*, not bytearray; decode it first$"),
    (("good", memoryview(b"")), {}, TypeError, "^data must be a str .*, not memoryview; decode it first$"),
    (("good", object()), {}, TypeError, "type object"),
    (("good", {"a": {1: object()}}), {}, TypeError, "type object"),
    (("good", {(1, 2): 3}), {}, TypeError, "keys"),
]


@pytest.mark.parametrize(("arguments", "keywords", "error", "text"), BAD_CALLS, ids=lambda value: repr(value)[:60])
async def test_broadcast(arguments: Any, keywords: Any, error: type[Exception], text: str) -> None:
    broadcaster = permissive()
    async with sends_nothing(broadcaster):
        assert_refused(lambda: broadcaster.broadcast(*arguments, **keywords), error, text)
        assert_refused(lambda: broadcaster._format_sse(*arguments, **keywords), error, text)


class Zone(tzinfo):
    """The encoder asks it for the offset."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        raise RuntimeError("not today")


async def test_an_encoder_that_raises() -> None:
    broadcaster = permissive()
    moment = datetime(2026, 1, 1, tzinfo=Zone())
    async with sends_nothing(broadcaster):
        for data in (moment, {"at": [moment]}):
            step = broadcaster.stream(request(), [("good", ""), ("good", data)])
            assert_refused(lambda step=step: step.send(None), RuntimeError, "^not today$")
            assert_refused(lambda data=data: broadcaster.broadcast("good", data), RuntimeError, "^not today$")


async def test_a_format_that_raises() -> None:
    class Picky(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            if event == "bad":
                raise RuntimeError("not today")
            return super()._format_sse(event, data)

    broadcaster = Picky(strict=False)
    async with sends_nothing(broadcaster):
        step = broadcaster.stream(request(), [("good", ""), ("bad", "")])
        assert_refused(lambda: step.send(None), RuntimeError, "^not today$")
        assert_refused(lambda: broadcaster.broadcast("bad", ""), RuntimeError, "^not today$")


async def test_a_format_that_broadcasts_puts_its_own_event_first() -> None:
    class Nesting(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            if event == "outer":
                self.broadcast("inner", data)
            return super()._format_sse(event, data)

    broadcaster = Nesting(strict=False)
    client = await connect(broadcaster)
    broadcaster.broadcast("outer", "x")
    assert await client.has(2) == [message("x", "inner"), message("x", "outer")]
    await client.leave()


async def test_a_format_that_closes_the_broadcaster() -> None:
    class Closing(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            self.close()
            return super()._format_sse(event, data)

    broadcaster = Closing(strict=False)
    client = await connect(broadcaster)
    broadcaster.broadcast("m", "x")
    assert await client.end() == []


def test_a_lying_str_subclass_is_taken_for_its_characters() -> None:
    class Lying(str):
        def __hash__(self) -> int:
            return hash("good")

        def __eq__(self, other: object) -> bool:
            return True

        def encode(self, *_: Any) -> bytes:
            return b"evil"

        def __str__(self) -> str:
            return "evil\n"

    broadcaster = Broadcaster()
    broadcaster.register_event("good")
    assert_refused(lambda: broadcaster.broadcast(Lying("bad"), "x"), ValueError, "^unregistered event type 'bad'; ")
    assert permissive()._format_sse(Lying("a"), Lying("b")) == message("b", "a")


# ---- stream, sse_route ----


@pytest.mark.parametrize(
    ("initial", "error", "text"),
    [
        ("ab", TypeError, r"^initial must be a list of \(event, data\) pairs, not str$"),
        (5, TypeError, "^initial must be a list .*, not int$"),
        ({"a": "b"}, TypeError, "^initial must be a list .*, not dict$"),
        (iter([("a", "b")]), TypeError, "^initial must be a list .*, not list_iterator$"),
        ([1], TypeError, r"^initial\[0\] must be a pair \(event, data\), not int$"),
        ([("a", "b"), "ab"], TypeError, r"^initial\[1\] must be a pair \(event, data\), not str$"),
        ([("a",)], TypeError, r"^initial\[0\] must be a pair"),
        ([("a", "b", "c")], TypeError, r"^initial\[0\] must be a pair"),
        ([(1, "b")], TypeError, "^event must be a str, not int$"),
        ([("a\r", "b")], ValueError, "^event must not contain CR, LF or NUL"),
        ([("\ud800", "b")], UnicodeEncodeError, "surrogates"),
        ([("a", "\ud800")], UnicodeEncodeError, "surrogates"),
        ([("a", b"b")], TypeError, "^data must be a str .*, not bytes; decode it first$"),
        ([("a", object())], TypeError, "type object"),
    ],
)
async def test_stream_refuses_bad_initial_events(initial: Any, error: type[Exception], text: str) -> None:
    broadcaster = permissive()
    async with sends_nothing(broadcaster):
        for method in ("GET", "HEAD"):
            step = broadcaster.stream(request(method), initial)
            assert_refused(lambda step=step: step.send(None), error, text)


async def test_event_generator_refuses_bad_initial_events_and_registers_nothing() -> None:
    broadcaster = permissive()
    async with sends_nothing(broadcaster):
        clients = list(broadcaster._clients)
        with pytest.raises(TypeError, match="^event must be a str"):
            await anext(broadcaster._event_generator(asyncio.Queue(), [(1, "x")]))
        assert broadcaster._clients == clients


@pytest.mark.parametrize("wrong", [None, "broadcaster", request])
def test_sse_route_refuses_what_cannot_stream(wrong: Any) -> None:
    assert_refused(lambda: sse_route(wrong), TypeError, "^broadcaster must ")


# ---- the C module's own doors ----


def test_private_types_cannot_be_made_by_hand() -> None:
    for private in (_core.Subscription, type(permissive()._subscribe())):
        with pytest.raises(TypeError):
            private()


def test_settings_cannot_be_overwritten() -> None:
    broadcaster = permissive()
    for name in ("_clients", "_event_types", "_buffer_size", "_strict", "_heartbeat_interval", "_retry", "_closed"):
        with pytest.raises(AttributeError):
            setattr(broadcaster, name, None)
        with pytest.raises(AttributeError):
            delattr(broadcaster, name)


def test_wire_names_the_argument_and_its_range() -> None:
    assert_refused(lambda: _core.wire("m", "x", retry=-1), ValueError, "^retry must be between 0 and 2147483647 ")
    assert_refused(lambda: _core.wire("m", "x", retry=1.5), TypeError, "^retry must be an int, not float$")
    assert_refused(lambda: _core.wire("m", "x", id=1), TypeError, "^id must be a str, not int$")
    assert_refused(lambda: _core.wire("m", "x", id="1\n"), ValueError, "^id must not contain CR, LF or NUL")
    assert_refused(lambda: _core.wire(comment=1), TypeError, "^comment must be a str, not int$")
    assert_refused(lambda: _core.wire("m", "x", "1"), TypeError, "positional")


async def test_a_subscription_joins_once_and_parks_once() -> None:
    broadcaster = permissive()
    loop = asyncio.get_running_loop()
    subscription = broadcaster._subscribe()
    assert subscription.park() is None, "not a client yet"
    assert list(subscription) == []
    subscription.join(loop)
    assert_refused(lambda: subscription.join(loop), RuntimeError, "joined already")
    waiter = subscription.park()
    assert_refused(subscription.park, RuntimeError, "parked already")
    broadcaster.broadcast("m", "x")
    await waiter
    assert list(subscription) == [message("x", "m")]
    for _ in range(2):
        subscription.close()
        assert subscription.park() is None
        assert list(subscription) == []
        assert_refused(lambda: subscription.join(loop), RuntimeError, "")
    assert broadcaster.client_count == 0


async def test_a_stream_needs_a_running_loop() -> None:
    broadcaster = permissive()
    stream = (await broadcaster.stream(request())).generator
    step = anext(stream)
    with pytest.raises(RuntimeError, match="need a running asyncio event loop"):
        await asyncio.to_thread(step.send, None)
    assert broadcaster.client_count == 0
