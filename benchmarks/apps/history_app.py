"""An EventStream whose clients may come back."""

from control import Control

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream

broadcaster = Broadcaster(buffer_size=0, history=10_000)
broadcaster.register_event("update")
app = Control(
    EventStream(broadcaster), lambda data: broadcaster.broadcast("update", data), lambda: broadcaster.client_count
)
