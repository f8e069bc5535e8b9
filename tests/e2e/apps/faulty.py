"""Code of a user's that raises, on paths of its own beside those of asgi_knobs."""

from datetime import UTC, datetime, tzinfo

from asgi_knobs import app as sound
from asgi_knobs import broadcaster
from fastware import Router, create_app

from fastware_sse.asgi import EventStream


class Zone(tzinfo):
    """The encoder asks it for the offset."""

    def utcoffset(self, when):
        raise RuntimeError("the user's own")


class Queued(type(broadcaster)):
    """A format of its own, which the initial events of a stream go through."""

    def _format_sse(self, event, data):
        raise RuntimeError("the user's own")


def fail(*arguments):
    raise RuntimeError("the user's own")


MOMENT = datetime(2025, 1, 1, tzinfo=UTC).replace(tzinfo=Zone())
router = Router()


@router.get("/encoder")
async def encode(request):
    broadcaster.broadcast("message", {"at": MOMENT})


@router.get("/initial")
async def encode_initial(request):
    return await broadcaster.stream(request, [("message", MOMENT)])


@router.get("/format")
async def format_initial(request):
    return await Queued().stream(request, [("message", "")])


in_fastware = create_app(router)
apps = {
    "/encoder": in_fastware,
    "/initial": in_fastware,
    "/format": in_fastware,
    "/initial-hook": EventStream(broadcaster, initial=fail),
    "/initial-encoder": EventStream(broadcaster, initial=lambda start: [("message", MOMENT)]),
    "/authorize": EventStream(broadcaster, authorize=fail),
}


async def app(scope, receive, send):
    await apps.get(scope.get("path"), sound)(scope, receive, send)
