"""Behind nginx, as Debian builds it: with its defaults, and tuned as docs/servers.md says."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from client import Connection, Response, Wire, all_got, connect
from h2client import Http2Connection
from servers import (
    DAPHNE,
    GRANIAN,
    HYPERCORN,
    UVICORN,
    UVICORN_UVLOOP,
    Kind,
    reserve_port,
    running,
    running_command,
)

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
APP = "asgi_knobs"
WAYS = {
    "defaults": "",  # HTTP/1.0 to the application
    "tuned": 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 1h;',
    "short": "proxy_read_timeout 1s;",
}
CONFIGURATION = """
daemon off;
{user}
pid {folder}/pid;
worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{http2_port} http2;
        {locations}
    }}
}}
"""

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def nginx() -> None:
    """These tests need what not every machine has. Where changes are checked, it has to be there."""
    if NGINX is None:
        message = "nginx is not installed"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)


@contextlib.asynccontextmanager
async def proxied(upstream: int, folder: Path) -> AsyncIterator[tuple[int, int]]:
    """nginx in front of the port `upstream`, with a path for each of WAYS; its ports for HTTP/1.1 and HTTP/2."""
    with reserve_port() as one, reserve_port() as two:
        port, http2_port = (holder.getsockname()[1] for holder in (one, two))
        locations = "\n".join(
            f"location /{name}/ {{ proxy_pass http://127.0.0.1:{upstream}/; {settings} }}"
            for name, settings in WAYS.items()
        )
        text = CONFIGURATION.format(
            folder=folder,
            port=port,
            http2_port=http2_port,
            locations=locations,
            user="user root;" if os.geteuid() == 0 else "",  # or its worker may not use the folder
        )
        (folder / "nginx.conf").write_text(text)
        async with running_command([NGINX, "-e", "stderr", "-c", str(folder / "nginx.conf")], port):
            yield port, http2_port


@pytest.mark.parametrize("way", ["defaults", "tuned"])
@pytest.mark.parametrize("kind", [UVICORN, UVICORN_UVLOOP, GRANIAN, HYPERCORN, DAPHNE], ids=str)
async def test_events_arrive_at_once_who_leaves_is_noticed_and_the_end_is_clean(
    kind: Kind, way: str, tmp_path: Path
) -> None:
    async with running(kind, APP) as server, proxied(server.port, tmp_path) as ports:

        async def open_streams() -> list[Response]:
            wires = list(zip(ports, (Connection, Http2Connection), strict=True))
            return [
                (await connect(port, wire)).send("GET", f"/{way}/{path}")
                for port, wire in wires
                for path in ("", "route") * 2
            ]

        for leave in (Wire.close, Wire.reset):
            leaving = await open_streams()
            await server.has_clients(8)
            for stream in leaving:
                leave(stream.connection)
            await server.has_clients(0)

        streams = await open_streams()
        await server.has_clients(8)
        texts = []
        for number in range(5):  # none of them waits for the next
            texts.append(f"event {number}")
            await server.burst(texts[-1])
            await all_got(streams, texts)
        server.interrupt()
        for stream in streams:
            await stream.end()
            assert stream.data == texts
        await server.exit_code()
        server.assert_no_complaint()


@pytest.mark.parametrize("way", ["defaults", "tuned"])
async def test_an_application_that_dies_looks_like_one_that_ends_unless_nginx_speaks_http_1_1_to_it(
    way: str, tmp_path: Path
) -> None:
    async with running(UVICORN, APP) as server, proxied(server.port, tmp_path) as ports:
        stream = (await connect(ports[0])).send("GET", f"/{way}/")
        await server.has_clients(1)
        await server.burst("the last")
        await all_got([stream], ["the last"])
        await server.kill()
        if way == "defaults":
            await stream.end()
        else:
            await stream.connection.closed()
            assert not stream.complete


async def test_heartbeats_keep_an_idle_stream_open_for_longer_than_nginx_waits(tmp_path: Path) -> None:
    options = {"BROADCASTER": '{"heartbeat_interval": 0.2}'}
    async with running(UVICORN, APP, **options) as server, proxied(server.port, tmp_path) as ports:
        stream = (await connect(ports[0])).send("GET", "/short/")
        await stream.until(lambda: stream.body.count(b": heartbeat\n\n") == 8)
        assert not stream.complete
