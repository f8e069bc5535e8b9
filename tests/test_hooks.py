"""on_connect and on_disconnect: when they are called, where, with what, and what they cannot harm."""

import asyncio
import gc
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from exchange import Exchange, until
from resuming import OTHER, Id, come, first_id, headers_of, publish
from support import connect, message, open_stream, permissive, request, stuck_client, turns

from fastware_sse import Broadcaster
from fastware_sse._session import Session
from fastware_sse.asgi import EventStream


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock the test moves on."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


loop_factory = Loop


async def skip(seconds: float) -> None:
    asyncio.get_running_loop().skipped += seconds
    await turns(16)


class Hooks:
    """What was told, in order; and whether a broadcast() was under way or another loop was running then."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, str | None]] = []
        self.clients: list[Any] = []
        self.loop = asyncio.get_running_loop()
        self.publishing = False

    def connected(self, client: Any) -> None:
        self._tell("on", client)
        self.clients.append(client)

    def disconnected(self, client: Any) -> None:
        self._tell("off", client)

    def _tell(self, what: str, client: Any) -> None:
        assert not self.publishing
        assert asyncio.get_running_loop() is self.loop
        self.told.append((what, client.id, client.reason))

    @property
    def reasons(self) -> list[str | None]:
        return [reason for what, _, reason in self.told if what == "off"]


def told(hooks: Hooks, *arguments: Any, **options: Any) -> Broadcaster:
    class Told(Broadcaster):
        def broadcast(self, event: str, data: Any) -> None:
            hooks.publishing = True
            try:
                super().broadcast(event, data)
            finally:
                hooks.publishing = False

    return Told(*arguments, strict=False, on_connect=hooks.connected, on_disconnect=hooks.disconnected, **options)


# ---- when, and in which order ----


@pytest.mark.parametrize("way", ["stream", "EventStream"])
async def test_they_are_called_around_the_stream(way: str) -> None:
    hooks = Hooks()
    order: list[str] = []

    class Mine(Broadcaster):
        pass

    def told_connected(client: Any) -> None:
        hooks.connected(client)
        assert broadcaster.client_count == 1
        order.append("on_connect")

    def told_disconnected(client: Any) -> None:
        hooks.disconnected(client)
        assert broadcaster.client_count == 0
        order.append("on_disconnect")

    def initial(start: Any) -> list[Any]:
        order.append("initial")
        return []

    broadcaster = Mine(strict=False, on_connect=told_connected, on_disconnect=told_disconnected)
    if way == "stream":
        stream = await open_stream(broadcaster, initial)
        assert order == [], "not before its first part is asked for"
        publish(broadcaster, 0)
        step = asyncio.ensure_future(anext(stream))
        await turns()
        publish(broadcaster, 1)
        assert await step == message("1")
        assert order == ["on_connect", "initial"]
        await stream.aclose()
    else:
        exchange = await come(broadcaster, initial=initial)
        assert order == ["on_connect", "initial"]
        exchange.leave()
        await exchange.end()
    assert order == ["on_connect", "initial", "on_disconnect"]
    (client,) = hooks.clients
    assert hooks.told == [("on", client.id, None), ("off", client.id, "left")]


async def test_each_alone_is_enough() -> None:
    seen: list[str] = []
    for name in ("on_connect", "on_disconnect"):
        broadcaster = permissive(**{name: lambda client, name=name: seen.append(name)})
        await (await connect(broadcaster)).leave()
    assert seen == ["on_connect", "on_disconnect"]


async def test_head_and_a_response_that_nobody_reads_are_no_clients() -> None:
    hooks = Hooks()
    broadcaster = told(hooks)
    head = (await broadcaster.stream(request("HEAD"))).generator
    assert [chunk async for chunk in head] == []
    unread = await open_stream(broadcaster)
    await unread.aclose()
    await Exchange(EventStream(broadcaster), "HEAD").end()
    await Exchange(EventStream(broadcaster, authorize=lambda scope: False)).end()
    assert hooks.told == []


async def test_they_may_broadcast_and_close() -> None:
    broadcaster = permissive(
        on_connect=lambda client: broadcaster.broadcast("came", client.id),
        on_disconnect=lambda client: broadcaster.broadcast("left", client.id),
    )
    first = await connect(broadcaster)
    second = await connect(broadcaster)
    await first.has(2)
    await second.leave()
    events = [tuple(line.split(": ")[1] for line in chunk.split("\n")[:2]) for chunk in await first.has(3)]
    number = int(events[0][1])
    assert events == [("came", f"{number}"), ("came", f"{number + 1}"), ("left", f"{number + 1}")]
    await first.leave()

    closing = permissive(on_connect=lambda client: closing.close())
    assert await (await connect(closing)).end() == []


async def test_they_are_called_on_the_loop_of_the_client() -> None:
    seen: list[tuple[str, int, Any]] = []

    def note(what: str) -> Callable[[Any], None]:
        return lambda client: seen.append((what, threading.get_ident(), asyncio.get_running_loop()))

    broadcaster = permissive(1, on_connect=note("on"), on_disconnect=note("off"))
    connected, over = threading.Event(), threading.Event()
    loops: list[Any] = []

    def serve() -> None:
        async def main() -> None:
            loops.append((threading.get_ident(), asyncio.get_running_loop()))
            client = await connect(broadcaster)
            connected.set()
            await client.end()
            over.set()

        asyncio.run(main())

    thread = threading.Thread(target=serve)
    thread.start()
    assert connected.wait(10)
    mine = await connect(broadcaster)
    publish(broadcaster, *range(50))  # from this thread: at the latest it is pruned
    broadcaster.close()
    assert over.wait(10)
    thread.join()
    await mine.end()
    here = (threading.get_ident(), asyncio.get_running_loop())
    assert sorted(seen, key=str) == sorted(
        [(what, *where) for what in ("on", "off") for where in (here, loops[0])], key=str
    )


# ---- never inside broadcast() ----


async def test_a_client_that_is_pruned_is_told_of_in_a_later_turn() -> None:
    hooks = Hooks()
    broadcaster = told(hooks, 2)
    client, stuck = await connect(broadcaster), await stuck_client(broadcaster)
    publish(broadcaster, *range(4))
    assert hooks.reasons == []
    await client.end()
    assert hooks.reasons == ["pruned"]
    assert [chunk async for chunk in stuck] == [message("0"), message("1")]
    assert hooks.reasons == ["pruned", "pruned"]


@pytest.mark.parametrize("way", ["stream", "EventStream"])
def test_clients_of_a_loop_that_was_closed_are_not_told_of(way: str) -> None:
    """There is no loop to be called on, and what drops them is a broadcast()."""
    calls: list[str] = []
    broadcaster = permissive(
        graceful_exit=False,
        on_connect=lambda client: calls.append("on"),
        on_disconnect=lambda client: calls.append("off"),
    )
    kept: list[Any] = []

    async def begin() -> None:
        if way == "stream":
            kept.append(asyncio.ensure_future(anext(await open_stream(broadcaster))))
            await turns()
        else:
            kept.append(await come(broadcaster))

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # tasks that were destroyed
    loop.run_until_complete(begin())
    loop.close()
    assert calls == ["on"]
    kept.clear()
    publish(broadcaster, *range(100))
    gc.collect()
    publish(broadcaster, 1)
    assert broadcaster.client_count == 0
    assert calls == ["on"]


async def test_a_stream_that_is_collected_is_told_of_on_its_loop() -> None:
    hooks = Hooks()
    broadcaster = told(hooks)
    stream = await stuck_client(broadcaster)
    del stream
    gc.collect()
    await until(lambda: hooks.reasons == ["left"])


# ---- what they raise ----


@pytest.mark.parametrize("way", ["stream", "EventStream"])
async def test_what_they_raise_is_logged_and_touches_nothing_else(way: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(client: Any) -> None:
        raise RuntimeError("mine")

    broadcaster = permissive(on_connect=fail, on_disconnect=fail)
    other = await connect(broadcaster)
    if way == "stream":
        client = await connect(broadcaster)
        publish(broadcaster, 1)
        assert await client.has(1) == await other.has(1) == [message("1")]
        await client.leave()
    else:
        exchange = await come(broadcaster)
        publish(broadcaster, 1)
        await other.has(1)
        await turns()
        assert exchange.text == ":\n\n" + message("1")
        exchange.leave()
        await exchange.end()
    assert broadcaster.client_count == 1
    await other.leave()
    records = [record for record in caplog.records if record.name == "fastware_sse"]
    assert [(record.levelname, record.getMessage()) for record in records] == [
        ("ERROR", "on_connect() of a Broadcaster failed"),
        ("ERROR", "on_connect() of a Broadcaster failed"),
        ("ERROR", "on_disconnect() of a Broadcaster failed"),
        ("ERROR", "on_disconnect() of a Broadcaster failed"),
    ]
    assert all(record.exc_info and isinstance(record.exc_info[1], RuntimeError) for record in records)


# ---- what they are given ----


async def test_what_a_client_says() -> None:
    hooks = Hooks()
    broadcaster = told(hooks, history=10)
    before = time.time()
    one = await connect(broadcaster)
    two = await connect(broadcaster)
    first, second = hooks.clients
    assert second.id == first.id + 1
    assert before <= first.connected_at <= second.connected_at <= time.time()
    assert (first.events, first.bytes, first.resume, first.reason) == (0, 0, None, None)
    publish(broadcaster, 1, 2)
    chunks = await one.has(3)
    size = sum(len(chunk) for chunk in chunks[1:])
    assert (first.events, first.bytes, first.reason) == (2, size, None)
    assert repr(first) == f"<Client {first.id}, connected, 2 events, {size} bytes>"
    await one.leave()
    assert (first.events, first.bytes, first.reason) == (2, size, "left")
    assert repr(first) == f"<Client {first.id}, left, 2 events, {size} bytes>"
    await two.leave()


@pytest.mark.parametrize("name", ["id", "connected_at", "events", "bytes", "resume", "reason", "anything"])
async def test_a_client_is_to_be_read_only(name: str) -> None:
    hooks = Hooks()
    client = await connect(told(hooks))
    with pytest.raises(AttributeError):
        setattr(hooks.clients[0], name, 5)
    await client.leave()


@pytest.mark.parametrize(
    ("make", "resume"),
    [
        (lambda begin: None, None),
        (lambda begin: str(begin.at(7)), "complete"),
        (lambda begin: str(begin.at(1)), "evicted"),
        (lambda begin: OTHER, "epoch"),
        (lambda begin: str(begin.at(99)), "future"),
        (lambda begin: "nonsense", "invalid"),
    ],
)
async def test_how_a_client_has_come_back(make: Callable[[Id], str | None], resume: str | None) -> None:
    hooks = Hooks()
    broadcaster = told(hooks, history=4)
    begin = await first_id(broadcaster)
    publish(broadcaster, *range(1, 9))
    client = await come(broadcaster, make(begin))
    assert hooks.clients[-1].resume == resume
    left = {None: 0, "complete": 1}.get(resume, 4)
    assert hooks.clients[-1].events == left
    client.leave()
    await client.end()
    assert hooks.clients[-1].resume == resume


# ---- why a stream has ended ----


async def _leaves(broadcaster: Broadcaster) -> None:
    exchange = await come(broadcaster)
    exchange.leave()
    await exchange.end()


async def _send_fails(broadcaster: Broadcaster) -> None:
    exchange = await come(broadcaster)
    exchange.failure = OSError()
    publish(broadcaster, 1)
    await exchange.end()


async def _initial_fails(broadcaster: Broadcaster) -> None:
    exchange = await come(broadcaster, initial=lambda start: 1 / 0)
    await exchange.end()
    assert exchange.status == 500


async def _is_pruned(broadcaster: Broadcaster) -> None:
    exchange = await come(broadcaster)
    publish(broadcaster, *range(10))
    await exchange.end()


async def _is_pruned_and_then_leaves(broadcaster: Broadcaster) -> None:
    exchange = Exchange(EventStream(broadcaster), allowed=2)
    await turns(8)
    for number in range(10):
        publish(broadcaster, number)
        await turns()
    exchange.leave()
    await exchange.end()


async def _is_passed(broadcaster: Broadcaster) -> None:
    begin = await first_id(broadcaster)
    publish(broadcaster, *range(8))

    def initial(start: Any) -> list[Any]:
        publish(broadcaster, *range(8))
        return []

    await (await come(broadcaster, str(begin), initial=initial)).end()


async def _is_closed(broadcaster: Broadcaster) -> None:
    exchange = await come(broadcaster)
    broadcaster.close()
    await exchange.end()


async def _comes_after_close(broadcaster: Broadcaster) -> None:
    broadcaster.close()
    await (await come(broadcaster)).end()


async def _is_too_old(broadcaster: Broadcaster) -> None:
    exchange = await come(broadcaster)
    await skip(100)
    await exchange.end()


async def _is_stuck(broadcaster: Broadcaster) -> None:
    exchange = Exchange(EventStream(broadcaster, send_timeout=5), allowed=2)
    await turns(8)
    publish(broadcaster, 1)
    await until(lambda: exchange.blocked == 1)
    await skip(6)
    await skip(6)  # for the farewell, which is blocked too
    await exchange.end()


async def _hears_a_signal(broadcaster: Broadcaster) -> None:
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        exchange = await come(broadcaster)
        signal.raise_signal(signal.SIGTERM)
        await exchange.end()
        late = await come(broadcaster)  # told of, and ended at once
        await late.end()
    finally:
        signal.signal(signal.SIGTERM, before)


REASONS: list[tuple[Callable[[Broadcaster], Any], list[str]]] = [
    (_leaves, ["left"]),
    (_send_fails, ["left"]),
    (_initial_fails, ["left"]),
    (_is_pruned, ["pruned"]),
    (_is_pruned_and_then_leaves, ["pruned"]),
    (_is_passed, ["left", "history"]),  # the first asked for an id
    (_is_closed, ["closed"]),
    (_comes_after_close, ["closed"]),
    (_is_too_old, ["max_age"]),
    (_is_stuck, ["send_timeout"]),
    (_hears_a_signal, ["shutdown", "shutdown"]),
]


@pytest.mark.parametrize(("live", "reasons"), REASONS, ids=[live.__name__[1:] for live, _ in REASONS])
async def test_why_a_stream_has_ended(live: Callable[[Broadcaster], Any], reasons: list[str]) -> None:
    hooks = Hooks()
    broadcaster = told(hooks, 4, history=8, max_age=60)
    await live(broadcaster)
    assert hooks.reasons == reasons
    assert [client.reason for client in hooks.clients] == reasons
    assert len(hooks.told) == 2 * len(reasons)


@pytest.mark.parametrize("how", ["aclose", "cancel", "error", "end"])
async def test_a_stream_of_fastware_is_told_of_once_however_it_ends(how: str) -> None:
    hooks = Hooks()
    broadcaster = told(hooks)
    stream = await stuck_client(broadcaster)
    if how == "aclose":
        await stream.aclose()
        await stream.aclose()
    elif how == "cancel":
        step = asyncio.ensure_future(anext(stream, None))
        await turns()
        step.cancel()
        assert await step is None
    elif how == "error":
        with pytest.raises(ZeroDivisionError):
            await stream.athrow(ZeroDivisionError())
    else:
        broadcaster.close()
        assert [chunk async for chunk in stream] == []
    assert hooks.reasons == ["closed" if how == "end" else "left"]


async def test_a_session_ends_once() -> None:
    hooks = Hooks()
    session = Session(told(hooks), request().scope)
    session.begin(asyncio.get_running_loop())
    session.note_stuck()
    session.end()
    session.end()
    assert hooks.reasons == ["send_timeout"]


async def test_the_reason_is_no_other_when_a_client_leaves_behind_its_last_event() -> None:
    """It was told to finish, but its send is blocked when it goes."""
    hooks = Hooks()
    broadcaster = told(hooks)
    exchange = Exchange(EventStream(broadcaster), allowed=2, headers=headers_of(None))
    await turns(8)
    publish(broadcaster, 1)
    await until(lambda: exchange.blocked == 1)
    broadcaster.close()
    exchange.leave()
    await exchange.end()
    assert hooks.reasons == ["closed"]


async def _hook(client: Any) -> None: ...


class AsyncHook:
    async def __call__(self, client: Any) -> None: ...


class AsyncMethod:
    async def told(self, client: Any) -> None: ...


@pytest.mark.parametrize("name", ["on_connect", "on_disconnect"])
@pytest.mark.parametrize("hook", [_hook, AsyncHook(), AsyncMethod().told, partial(_hook)], ids=type)
def test_a_coroutine_function_is_refused_since_nobody_would_await_it(name: str, hook: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be a plain function, not a coroutine function"):
        Broadcaster(**{name: hook})
