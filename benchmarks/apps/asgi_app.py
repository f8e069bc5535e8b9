"""An EventStream, without a framework."""

from control import Control

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream

broadcaster = Broadcaster()
broadcaster.register_event("update")
app = Control(
    EventStream(broadcaster), lambda data: broadcaster.broadcast("update", data), lambda: broadcaster.client_count
)
