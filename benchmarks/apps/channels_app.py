"""Litestar's channels plugin with its memory backend: the JSON is made once for all, the event by Litestar for each."""

from control import Control
from litestar import Litestar, get
from litestar.channels import ChannelsPlugin
from litestar.channels.backends.memory import MemoryChannelsBackend
from litestar.response import ServerSentEvent

plugin = ChannelsPlugin(MemoryChannelsBackend(), channels=["update"])
clients = 0


@get("/events")
async def events() -> ServerSentEvent:
    return ServerSentEvent(subscribe(), event_type="update")


async def subscribe():
    global clients
    async with plugin.start_subscription(["update"]) as subscriber:
        clients += 1
        try:
            async for text in subscriber.iter_events():
                yield text
        finally:
            clients -= 1


app = Control(Litestar([events], plugins=[plugin]), lambda data: plugin.publish(data, "update"), lambda: clients)
