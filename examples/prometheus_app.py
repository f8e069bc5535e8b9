"""The numbers of a Broadcaster for Prometheus, at /metrics. Serve it with, for example:

uvicorn prometheus_app:app

Listen with `curl -N http://127.0.0.1:8000/events`, send with `curl --json '{"name": "tea"}' http://127.0.0.1:8000/items`,
and see the numbers with `curl http://127.0.0.1:8000/metrics`.
"""

from fastware_sse import Broadcaster, sse_route
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

# The others only grow.
GAUGES = {"connected", "direct", "log_events", "log_bytes", "lag", "history_events", "history_bytes"}
CLEARER = {"connected": "clients", "total": "streams"}


class BroadcasterCollector(Collector):
    """Asks for the numbers at each scrape, so that no event costs anything."""

    def __init__(self, broadcaster):
        self.broadcaster = broadcaster

    def collect(self):
        for name, value in self.broadcaster.stats().items():
            if name == "backplane":
                continue  # not a number
            family = GaugeMetricFamily if name in GAUGES else CounterMetricFamily
            yield family(f"sse_{CLEARER.get(name, name)}", f"{name!r} of stats()", value=value)


broadcaster = Broadcaster(heartbeat_interval=30)
broadcaster.register_event("update")
REGISTRY.register(BroadcasterCollector(broadcaster))


async def create_item(request):
    broadcaster.broadcast("update", {"action": "created", "item": await request.json()})
    return JSONResponse({"ok": True})


async def metrics(request):
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})


app = Starlette(
    routes=[
        Route("/events", sse_route(broadcaster)),
        Route("/items", create_item, methods=["POST"]),
        Route("/metrics", metrics),
    ]
)
