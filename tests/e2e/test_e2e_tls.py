"""Servers that speak TLS themselves: events arrive, those who leave are noticed, and the end is clean."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from client import Connection, Response, Wire, connect
from h2client import Http2Connection
from servers import STOP, STOP_IDLE, Kind, granian, running, uvicorn

pytestmark = pytest.mark.e2e

APP = "asgi_knobs"


class Certificate(NamedTuple):
    authority: trustme.CA
    chain: str
    key: str

    def trust(self, protocol: str = "http/1.1") -> ssl.SSLContext:
        """What a client of `protocol` needs."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        context.set_alpn_protocols([protocol])
        return context


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(chain)
    issued.private_key_pem.write_to_path(key)
    return Certificate(authority, str(chain), str(key))


def on_uvicorn(certificate: Certificate, loop: str, http: str) -> Kind:
    return uvicorn(loop, http, "--ssl-certfile", certificate.chain, "--ssl-keyfile", certificate.key)


def on_granian(certificate: Certificate, loop: str) -> Kind:
    return granian(loop, "--ssl-certificate", certificate.chain, "--ssl-keyfile", certificate.key)


@pytest.mark.parametrize("how", STOP)
@pytest.mark.parametrize(
    ("serve", "choices", "wire"),
    [
        (on_uvicorn, ("asyncio", "h11"), Connection),
        (on_uvicorn, ("uvloop", "httptools"), Connection),
        (on_granian, ("asyncio",), Connection),
        (on_granian, ("uvloop",), Connection),
        (on_granian, ("uvloop",), Http2Connection),
    ],
    ids=["uvicorn-asyncio-h11", "uvicorn-uvloop-httptools", "granian-asyncio", "granian-uvloop", "granian-uvloop-h2"],
)
async def test_tls(
    serve: Callable[..., Kind], choices: tuple[str, ...], wire: type[Wire], how: str, certificate: Certificate
) -> None:
    trust = certificate.trust("h2" if wire is Http2Connection else "http/1.1")

    async def open_streams() -> list[Response]:
        return [(await connect(server.port, wire, trust)).send("GET", target) for target in ("/", "/route") * 5]

    kind = serve(certificate, *choices)
    async with (
        running(kind, APP, tls=certificate.trust()) as idle,
        running(kind, APP, tls=certificate.trust()) as server,
    ):
        await idle.has_clients(0)
        STOP_IDLE[how](idle)
        before = await server.request("GET", "/status")
        for leave in (Wire.close, Wire.reset):
            leaving = await open_streams()
            await server.has_clients(10)
            for stream in leaving:
                leave(stream.connection)
            await server.nothing_is_left(before)
        streams = await open_streams()
        await server.has_clients(10)
        await server.burst("a", "b")
        STOP[how](server)
        for stream in streams:
            await stream.end()
            assert stream.data == ["a", "b"]
        assert await server.exit_code() == await idle.exit_code()
        server.assert_no_complaint()
