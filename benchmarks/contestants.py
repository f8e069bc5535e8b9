"""Who is measured: the rows of the tables."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from process import HERE

FLOOR_PROGRAM = HERE / "build" / "floor"  # from floor.c

COMMANDS = {
    "uvicorn": [sys.executable, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    + ["--backlog", "4096", "--port", "{port}", "{app}:app"],
    # As fastware's serve() starts it, which admits no more than 1,024 streams; these are the options for more.
    "granian": [sys.executable, "-m", "granian", "--interface", "asgi", "--loop", "asyncio", "--no-ws"]
    + ["--backlog", "4096", "--backpressure", "20000", "--port", "{port}", "{app}:app"],
    "nginx": ["{nginx}", "-p", "{folder}", "-c", "{folder}/nginx.conf"],
    "C": [str(FLOOR_PROGRAM), "{port}"],
    "its own server": [sys.executable, "{app}.py", "{port}"],
}


@dataclass(frozen=True)
class Kind:
    """What is measured, whatever serves it."""

    name: str
    app: str = ""  # a module of apps/
    target: str = "/events"
    which: str = ""  # whose Broadcaster, for fastware_app; the framework, for adapter_app
    heartbeat: int = 0
    is_ours: bool = False


ORIGINAL = Kind("the original in fastware", "fastware_app", which="original")
ROUTE = Kind("ours: sse_route in fastware", "fastware_app", which="ours", is_ours=True)
STREAM = Kind("ours: stream() in fastware", "fastware_app", "/stream", which="ours", is_ours=True)
ORIGINAL_HEARTBEAT = Kind("the original, heartbeat_interval=30", "fastware_app", which="original", heartbeat=30)
STREAM_HEARTBEAT = Kind(
    "ours: stream(), heartbeat_interval=30", "fastware_app", "/stream", which="ours", heartbeat=30, is_ours=True
)
MOUNTED = Kind("ours: EventStream mounted in fastware", "mounted_app", is_ours=True)
ALONE = Kind("ours: EventStream alone", "asgi_app", is_ours=True)
STARLETTE = Kind("ours: in Starlette", "adapter_app", which="starlette", is_ours=True)
FASTAPI = Kind("ours: in FastAPI", "adapter_app", which="fastapi", is_ours=True)
LITESTAR = Kind("ours: in Litestar", "adapter_app", which="litestar", is_ours=True)
QUART = Kind("ours: in Quart", "adapter_app", which="quart", is_ours=True)
DJANGO = Kind("ours: in Django", "adapter_app", which="django", is_ours=True)
BLACKSHEEP = Kind("ours: EventStream mounted in BlackSheep", "adapter_app", which="blacksheep", is_ours=True)
AIOHTTP = Kind("ours: in aiohttp", "aiohttp_app", is_ours=True)
HISTORY = Kind("ours: EventStream with a history", "history_app", is_ours=True)
SSE_STARLETTE = Kind("sse-starlette", "starlette_app")
FASTAPI_SSE = Kind("FastAPI's own", "fastapi_app")
NCHAN = Kind("nchan")
FLOOR = Kind("a bare send() loop")


@dataclass(frozen=True)
class Contestant:
    kind: Kind
    server: str  # a key of COMMANDS

    @property
    def name(self) -> str:
        return f"{self.kind.name}, {self.server}"


def on(server: str, *kinds: Kind) -> list[Contestant]:
    return [Contestant(kind, server) for kind in kinds]


ASGI_SERVERS = ("uvicorn", "granian")
OTHERS = on("uvicorn", SSE_STARLETTE, FASTAPI_SSE) + on("nginx", NCHAN) + on("C", FLOOR)
ALL = [one for server in ASGI_SERVERS for one in on(server, ORIGINAL, ROUTE, MOUNTED, ALONE)] + OTHERS
