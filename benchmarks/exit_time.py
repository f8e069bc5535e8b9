"""The exit of a server that has open streams."""

from __future__ import annotations

from statistics import median

from client import open_streams
from contestants import ASGI_SERVERS, ORIGINAL, ROUTE, Contestant
from result import Line
from running import running
from scale import Scale

PATIENCE = 3.0
LAST_CHUNK = b"0\r\n\r\n"


def exit_time(scale: Scale) -> list[Line]:
    """SIGTERM with open streams; every client of ours must see a clean end."""
    lines = []
    for server in ASGI_SERVERS:
        times = [_exit_time(Contestant(ROUTE, server), scale.clients) for _ in range(scale.exits)]
        original = _exit_time(Contestant(ORIGINAL, server), scale.clients)
        beside = f"the original {f'{original:.2f} s' if original else f'still there after {PATIENCE:g} s'}"
        what = f"exit after SIGTERM with {scale.clients:,} open streams: {server}"
        if None in times:
            lines.append(Line(what, "<= 1.5 s", f"still there after {PATIENCE:g} s", False))
        else:
            lines.append(Line(what, "<= 1.5 s", f"{median(times):.2f} s ({beside})", median(times) <= 1.5))
    return lines


def _exit_time(contestant: Contestant, count: int) -> float | None:
    with running([contestant]) as (server,):
        streams = open_streams(server, count)
        server.wait_for_clients(count)
        seconds = server.terminate(PATIENCE)
        clean = 0
        for stream in streams:
            received = b""
            while seconds is not None and (data := stream.recv(65536)):
                received += data
            clean += received.endswith(LAST_CHUNK)
            stream.close()
        if seconds is not None and clean != count:
            raise RuntimeError("not every stream had a clean end")
    return seconds
