"""The example that exports stats(): what Prometheus gets of it."""

import asyncio
import os
import runpy
from importlib.util import find_spec
from pathlib import Path

import pytest
from client import LIMIT
from listening import until
from memory import Memory
from memory import Server as Stream
from servers import UVICORN, Server, running

from fastware_sse import Broadcaster
from fastware_sse.backplane import BackplaneError

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        find_spec("prometheus_client") is None and os.environ.get("CI") != "true",
        reason="prometheus_client is not installed",
    ),
]


async def scrape(server: Server) -> dict[str, tuple[str, float]]:
    """The kind and the value of each of our metrics."""
    from prometheus_client.parser import text_string_to_metric_families

    connection = await server.connect()
    response = await connection.send("GET", "/metrics").end()
    connection.close()
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(response.body.decode())
    samples = [(family.type, *family.samples) for family in families if family.name.startswith("sse_")]
    return {sample.name: (kind, sample.value) for kind, sample in samples}


async def scraped(server: Server, **values: float) -> dict[str, tuple[str, float]]:
    """Scrape until the metrics have these values."""
    async with asyncio.timeout(LIMIT):
        while True:
            metrics = await scrape(server)
            if all(metrics[name][1] == value for name, value in values.items()):
                return metrics


async def test_a_scrape_sees_clients_and_events_come_and_go() -> None:
    async with running(UVICORN, "prometheus_app") as server:
        before = await scrape(server)
        assert len(before) == len(Broadcaster().stats())
        assert {value for _, value in before.values()} == {0}
        kinds = {name: kind for name, (kind, _) in before.items()}
        assert {kind for name, kind in kinds.items() if name.endswith("_total")} == {"counter"}
        gauges = {"clients", "direct", "lag", "log_events", "log_bytes", "history_events", "history_bytes"}
        assert {name for name, kind in kinds.items() if kind == "gauge"} == {f"sse_{name}" for name in gauges}

        streams = [await server.stream() for _ in range(3)]
        await scraped(server, sse_clients=3, sse_streams_total=3)
        for _ in range(2):
            await server.request("POST", "/items", {"name": "tea"})
        for stream in streams:
            await stream.until(lambda stream=stream: len(stream.events) == 2)
        wire = b"event: update\ndata: " + stream.events[0].data.encode() + b"\n\n"
        await scraped(server, sse_events_total=2, sse_bytes_total=2 * len(wire), sse_log_events=0, sse_lag=0)

        for stream in streams:
            stream.connection.close()
        await scraped(server, sse_clients=0, sse_streams_total=3, sse_pruned_total=0)
        server.assert_no_complaint()


async def test_a_scrape_sees_what_a_backplane_has_not_taken_yet() -> None:
    from prometheus_client import CollectorRegistry

    stream = Stream()
    stream.away = BackplaneError("no route")
    broadcaster = Broadcaster(strict=False, backplane=Memory(stream))
    registry = CollectorRegistry()
    registry.register(runpy.run_path(str(EXAMPLES / "prometheus_app.py"))["BroadcasterCollector"](broadcaster))

    def now(*names: str) -> list[float | None]:
        return [registry.get_sample_value(f"sse_backplane_{name}") for name in names]

    everything = ["away", "queued_events", "queued_bytes", "refused_total", "foreign_total"]
    assert now(*everything) == [0] * 5
    broadcaster.broadcast("e", "text")
    broadcaster.broadcast("CR", "text")
    await until(lambda: now("away") == [1])
    assert now(*everything) == [1, 2, len("etext" + "CRtext"), 0, 0]
    stream.away = None
    await until(lambda: now("away", "queued_events") == [0, 0])
    broadcaster.close()
    assert registry.get_sample_value("sse_clients") == 0
