"""A Broadcaster in a framework, as examples/ show it: BENCH_WHICH names the framework, and no other is imported."""

import os

from control import Control

from fastware_sse import Broadcaster, sse_route
from fastware_sse.asgi import EventStream

broadcaster = Broadcaster()
broadcaster.register_event("update")


def starlette():
    from starlette.applications import Starlette
    from starlette.routing import Route

    return Starlette(routes=[Route("/events", sse_route(broadcaster))])


def fastapi():
    from fastapi import FastAPI

    from fastware_sse.starlette import EventStreamResponse

    app = FastAPI()

    @app.get("/events", response_class=EventStreamResponse)
    async def events():
        return EventStreamResponse(broadcaster)

    return app


def litestar():
    from litestar import Litestar, Request, get
    from litestar.types import ASGIApp

    @get("/events")
    async def events(request: Request) -> ASGIApp:
        return await broadcaster.stream(request)

    return Litestar([events])


def quart():
    from quart import Quart, request

    app = Quart(__name__)

    @app.get("/events")
    async def events():
        return await broadcaster.stream(request)

    return app


def django():
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.urls import path

    async def events(request):
        return await broadcaster.stream(request)

    settings.configure(ROOT_URLCONF=(path("events", events),), ALLOWED_HOSTS=["*"])
    return get_asgi_application()


def blacksheep():
    from blacksheep import Application

    app = Application()
    app.mount("/events", EventStream(broadcaster))
    return app


FRAMEWORKS = {make.__name__: make for make in (starlette, fastapi, litestar, quart, django, blacksheep)}
framework = FRAMEWORKS[os.environ["BENCH_WHICH"]]()
app = Control(framework, lambda data: broadcaster.broadcast("update", data), lambda: broadcaster.client_count)
