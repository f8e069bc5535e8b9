"""Which framework a request is from, told by its type alone, and what is said where there is none."""

from typing import Any

import aiohttp.web
import blacksheep
import django.core.handlers.asgi
import fastapi
import litestar
import pytest
import quart
import starlette.requests
from support import open_stream, request, run_python

from fastware_sse import Broadcaster
from fastware_sse._frameworks import adapter_of
from fastware_sse._reply import Reply

REQUESTS = {
    starlette.requests.Request: "starlette",
    fastapi.Request: "starlette",
    litestar.Request: "litestar",
    quart.Request: "quart",
    django.core.handlers.asgi.ASGIRequest: "django",
    aiohttp.web.Request: "aiohttp",
    blacksheep.Request: "blacksheep",
}


def made_without_init(kind: type) -> Any:
    return kind.__new__(kind, "GET", b"/", []) if kind is blacksheep.Request else kind.__new__(kind)


@pytest.mark.parametrize(("kind", "framework"), REQUESTS.items(), ids=lambda value: getattr(value, "__module__", value))
def test_a_request_is_known_by_its_class_or_one_that_it_derives_from(kind: type, framework: str) -> None:
    class Derived(kind):
        pass

    for known in (kind, Derived):
        assert adapter_of(made_without_init(known)).__name__ == f"fastware_sse.{framework}"


async def test_the_global_request_of_quart_is_known_by_what_is_behind_it() -> None:
    async with quart.Quart(__name__).test_request_context("/"):
        assert adapter_of(quart.request).__name__ == "fastware_sse.quart"


@pytest.mark.parametrize("unknown", [None, request(), object(), Broadcaster, {"type": "http"}], ids=repr)
async def test_what_is_not_known_counts_as_a_request_of_fastware(unknown: Any) -> None:
    assert adapter_of(unknown) is None
    assert (await Broadcaster().stream(unknown)).content_type == "text/event-stream"


def test_telling_imports_no_framework_but_the_one_it_is_from() -> None:
    run_python("""
import sys
from fastware_sse import Broadcaster, sse_route
from fastware_sse._frameworks import adapter_of

ALL = {"aiohttp", "blacksheep", "django", "fastapi", "fastware", "litestar", "quart", "starlette"}
Unknown = type("Request", (), {"__module__": "starlettes.requests"})
assert adapter_of(None) is adapter_of(Unknown()) is None
sse_route(Broadcaster())
assert not ALL & set(sys.modules), ALL & set(sys.modules)

Litestars = type("Request", (), {"__module__": "litestar.connection.request"})
assert adapter_of(Litestars()).__name__ == "fastware_sse.litestar"
assert not ALL & set(sys.modules), ALL & set(sys.modules)  # its adapter needs nothing of it

import starlette.requests
assert adapter_of(starlette.requests.Request({"type": "http"})).__name__ == "fastware_sse.starlette"
assert ALL & set(sys.modules) == {"starlette"}
""")


def test_an_unknown_request_without_fastware_is_told_of_the_responder() -> None:
    run_python("""
import asyncio, sys
sys.modules["fastware"] = None  # it cannot be imported
from fastware_sse import Broadcaster

for request, name in ((None, "NoneType"), (object(), "object")):
    try:
        asyncio.run(Broadcaster().stream(request))
    except TypeError as error:
        assert name in str(error) and "fastware_sse.asgi.EventStream" in str(error), error
    else:
        raise AssertionError
""")


class Own(Broadcaster):
    async def _event_generator(self, queue: Any, initial: Any = None) -> Any:
        yield "mine"


async def test_an_overridden_event_generator_is_for_fastware_alone() -> None:
    own = Own(strict=False)
    assert [chunk async for chunk in await open_stream(own)] == ["mine"]
    for kind in REQUESTS:
        with pytest.raises(TypeError, match="^Own has its own _event_generator"):
            await own.stream(made_without_init(kind))
    with pytest.raises(TypeError, match="^Own has its own _event_generator"):
        Reply(own)


async def test_an_overridden_format_is_for_all() -> None:
    class Shouting(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            return f"data: {data.upper()}\n\n"

    reply = Reply(Shouting(strict=False), initial=[("a", "x")])
    assert await reply.first_bodies({}) == [b"data: X\n\n"]


async def test_a_subclass_that_skips_init_is_served() -> None:
    class Lazy(Broadcaster):
        def __init__(self) -> None:
            pass

    assert await Reply(Lazy()).first_bodies({}) == [b":\n\n"]
