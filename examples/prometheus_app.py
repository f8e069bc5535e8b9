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
GAUGES |= {"backplane_queued_events", "backplane_queued_bytes", "backplane_away"}
CLEARER = {"connected": "clients", "total": "streams"}


class BroadcasterCollector(Collector):
    """Asks for the numbers at each scrape, so that no event costs anything."""

    def __init__(self, broadcaster):
        self.broadcaster = broadcaster

    def collect(self):
        numbers = self.broadcaster.stats()
        backplane = numbers.pop("backplane", None)
        if backplane is not None:
            for name in ("queued_events", "queued_bytes", "refused", "foreign"):
                numbers[f"backplane_{name}"] = backplane[name]
            numbers["backplane_away"] = int(backplane["away_since"] is not None)
        for name, value in numbers.items():
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
