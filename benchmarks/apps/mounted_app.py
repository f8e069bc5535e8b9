"""An EventStream mounted in fastware."""

from control import Control
from fastware import Router, create_app

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream

broadcaster = Broadcaster()
broadcaster.register_event("update")
router = Router()
router.mount("/events", EventStream(broadcaster))
app = Control(create_app(router), lambda data: broadcaster.broadcast("update", data), lambda: broadcaster.client_count)
