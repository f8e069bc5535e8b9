"""Quart and Django, whose responses send a generator of bytes, driven by a receive and a send of the tests' own; and
BlackSheep, which is sent elsewhere."""

import asyncio
import gc
import types
from collections.abc import Iterator
from typing import Any

import blacksheep
import django.test
import exchange
import pytest
import quart
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path
from support import HEARTBEAT, message, permissive, turns

from fastware_sse import Broadcaster

KIB = 1024
GET = {"path": "/events", "query_string": b"", "scheme": "http", "server": ("localhost", 80)}

served = types.SimpleNamespace(broadcaster=None, initial=None)  # by the applications below


async def stream(request: Any) -> Any:
    return await served.broadcaster.stream(request, served.initial)


quart_app = quart.Quart(__name__)


@quart_app.get("/events")
async def view() -> quart.Response:
    return await stream(quart.request)


settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None)
urlpatterns = [path("events", stream)]

APPS = {"quart": quart_app, "django": get_asgi_application()}
each = pytest.mark.parametrize("framework", APPS)


class Exchange(exchange.Exchange):
    async def send(self, message: dict[str, Any]) -> None:
        await super().send(message)
        if self.complete:  # as servers say it, and Quart waits for it
            self.leave()

    def _check(self, message: dict[str, Any]) -> None:
        if self.messages:  # Django leaves out what is the default
            message.setdefault("body", b"")
            message.setdefault("more_body", False)
        else:  # and keeps the case of its own headers
            message["headers"] = [(name.lower(), value) for name, value in message["headers"]]
        super()._check(message)


def begin(framework: str, broadcaster: Broadcaster, initial: Any = None, **options: Any) -> Exchange:
    served.broadcaster, served.initial = broadcaster, initial
    return Exchange(APPS[framework], **GET, **options)


async def connect(*arguments: Any, **options: Any) -> Exchange:
    request = begin(*arguments, **options)
    async with asyncio.timeout(5):
        while not request.messages[1:] and not request.blocked and not request.task.done():
            await asyncio.sleep(0)
    await turns()
    return request


async def left(broadcaster: Broadcaster, tasks: set[Any]) -> None:
    """Wait until there is no client and no task of it."""
    async with asyncio.timeout(5):
        while broadcaster.client_count or asyncio.all_tasks() != tasks:
            await asyncio.sleep(0)


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """What is left to the collector is left for good."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@each
@pytest.mark.parametrize(
    ("retry", "initial", "first"),
    [
        (None, None, ":\n\n"),
        (2, [("a", "1"), ("b", {"n": 2})], "retry: 2000\n\n" + message("1", "a") + message('{"n":2}', "b")),
    ],
)
async def test_the_head_and_a_first_body_come_at_once(framework: str, retry: Any, initial: Any, first: str) -> None:
    broadcaster = permissive(retry=retry)
    client = await connect(framework, broadcaster, initial)
    assert client.status == 200
    assert client.headers == [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
    ]
    assert client.bodies == [first.encode()]
    assert broadcaster.client_count == 1
    broadcaster.broadcast("message", "x")
    await turns()
    assert client.bodies[1:] == [message("x").encode()]
    broadcaster.close()
    await client.end()
    assert client.complete and client.bodies[2:] == [b""]


@each
async def test_events_that_wait_together_leave_together_as_the_same_object_for_all(framework: str) -> None:
    broadcaster = permissive(0)
    clients = [await connect(framework, broadcaster) for _ in range(3)]
    texts = ["x" * KIB] * 150
    for text in texts:
        broadcaster.broadcast("message", text)
    await turns(20)
    bodies = clients[0].bodies
    assert b"".join(bodies) == (":\n\n" + "".join(map(message, texts))).encode()
    assert len(bodies) == 1 + 3
    for client in clients:
        if framework == "quart":
            assert [id(body) for body in client.bodies[1:]] == [id(body) for body in bodies[1:]]
        assert client.bodies == bodies
        client.leave()
        await client.end()


@each
async def test_head_gets_the_headers_and_an_end_and_is_no_client(framework: str) -> None:
    broadcaster = permissive()
    client = await connect(framework, broadcaster, [("a", "1")], method="HEAD")
    await client.end()
    assert client.headers[0] == (b"content-type", b"text/event-stream")
    assert client.complete and client.bodies == [b""]
    assert broadcaster.stats()["total"] == 0


@each
async def test_bad_initial_events_raise_in_the_handler(framework: str) -> None:
    client = await connect(framework, permissive(), [("a\n", "1")])
    await client.end()
    assert client.status == 500


@each
@pytest.mark.parametrize("allowed", [1, 2, 3, float("inf")])
async def test_a_client_that_leaves_is_no_client_any_more(framework: str, allowed: float, no_garbage: None) -> None:
    broadcaster, tasks = permissive(), asyncio.all_tasks()
    client = await connect(framework, broadcaster, allowed=allowed)
    for text in "ab":
        broadcaster.broadcast("message", text)
        await turns()
    assert broadcaster.client_count == 1
    assert client.blocked == (allowed != float("inf"))
    client.leave()
    await left(broadcaster, tasks)


@each
async def test_others_have_a_turn_after_at_most_64_kib(framework: str) -> None:
    broadcaster = permissive(0)
    client = begin(framework, broadcaster)
    events = [("e", "x" * 10_000)] * 100
    sent = [0]  # in each turn

    def tick() -> None:
        sent.append(0)
        if not client.task.done():
            asyncio.get_running_loop().call_soon(tick)

    async def send(message: dict[str, Any]) -> None:
        sent[-1] += len(message.get("body", b""))
        if events:  # there is always one more when this one is out
            broadcaster.broadcast(*events.pop())

    client.send = send  # type: ignore[method-assign]
    tick()
    async with asyncio.timeout(5):
        while sum(sent) < 900_000:  # the first few are before it is a client
            await asyncio.sleep(0)
    assert max(sent) <= 64 * KIB + 10_100
    client.leave()
    await client.end()


async def test_quart_does_not_cut_a_stream_when_its_time_is_up() -> None:
    quart_app.config["RESPONSE_TIMEOUT"] = 0.05
    client = await connect("quart", permissive(heartbeat_interval=0.05))
    async with asyncio.timeout(5):
        while len(client.bodies) < 5:
            await asyncio.sleep(0.01)
    assert client.bodies[1:] == [HEARTBEAT.encode()] * (len(client.bodies) - 1)
    client.leave()
    await client.end()


async def test_middleware_of_django_may_put_its_own_content_around_ours(no_garbage: None) -> None:
    with django.test.override_settings(MIDDLEWARE=["django.middleware.gzip.GZipMiddleware"]):
        APPS["compressed"] = get_asgi_application()
    broadcaster, tasks = permissive(), asyncio.all_tasks()
    client = await connect("compressed", broadcaster, headers=[(b"accept-encoding", b"gzip")])
    broadcaster.broadcast("message", "x")
    await turns(20)
    assert (b"content-encoding", b"gzip") in client.headers
    client.leave()
    await left(broadcaster, tasks)


async def test_django_says_that_it_needs_asgi() -> None:
    with pytest.raises(TypeError, match="get_asgi_application"):
        await permissive().stream(django.test.RequestFactory().get("/events"))


async def test_blacksheep_is_told_of_the_mount() -> None:
    with pytest.raises(TypeError, match=r'app\.mount\("/events", EventStream\(broadcaster\)\)'):
        await permissive().stream(blacksheep.Request("GET", b"/events", []))
