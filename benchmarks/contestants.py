"""Who is measured: the rows of the tables."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from process import BUILD

# What building.py makes: of floor.c and of the folders in apps/.
FLOOR_PROGRAM = BUILD / "floor"
GO_PROGRAM = BUILD / "go-server"
RUST_TARGET = BUILD / "rust"
NODE_FOLDER = BUILD / "node"

UVICORN = [sys.executable, "-m", "uvicorn", "--no-access-log", "--backlog", "4096", "--port", "{port}", "{app}:app"]
PROTOCOL = "fastware_sse.uvicorn:Protocol"

COMMANDS = {
    "uvicorn": [*UVICORN, "--loop", "uvloop", "--http", "httptools"],
    "direct on uvicorn": [*UVICORN, "--loop", "uvloop", "--http", PROTOCOL],
    "direct on uvicorn with asyncio": [*UVICORN, "--loop", "asyncio", "--http", PROTOCOL],
    # As fastware's serve() starts it, which admits no more than 1,024 streams; these are the options for more.
    "granian": [sys.executable, "-m", "granian", "--interface", "asgi", "--loop", "asyncio", "--no-ws"]
    + ["--backlog", "4096", "--backpressure", "20000", "--port", "{port}", "{app}:app"],
    "nginx": ["{nginx}", "-p", "{folder}", "-c", "{folder}/nginx.conf"],
    "C": [str(FLOOR_PROGRAM), "{port}"],
    "its own server": [sys.executable, "{app}.py", "{port}"],
    "Go": [str(GO_PROGRAM), "{which}", "{port}"],
    "Rust": [str(RUST_TARGET / "release" / "axum-server"), "{port}"],
    "Node": ["node", str(NODE_FOLDER / "server.js"), "{port}"],
}

VALGRIND = " under valgrind"
COUNTING = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file={folder}/counts"]
for _server in ("uvicorn", "direct on uvicorn"):
    COMMANDS[_server + VALGRIND] = COUNTING + COMMANDS[_server]

ABSENT: dict[str, str] = {}  # servers that this machine does not have, and why


@dataclass(frozen=True)
class Kind:
    """What is measured, whatever serves it."""

    name: str
    app: str = ""  # a module of apps/
    target: str = "/events"
    which: str = ""  # whose Broadcaster, for fastware_app; the framework, for adapter_app; the hub, in Go
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
QUEUES = Kind("Starlette with queues", "queues_app")
CHANNELS = Kind("Litestar's channels", "channels_app")
NCHAN = Kind("nchan")
MERCURE = Kind("Mercure", target="/events?topic=bench", which="mercure")
GO_SSE = Kind("go-sse", which="go-sse")
AXUM = Kind("axum with tokio's broadcast")
BETTER_SSE = Kind("better-sse")
FLOOR = Kind("a bare send() loop")
PLAIN = Kind("an ordinary request", "plain_app")


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
DIRECT = on("direct on uvicorn", ALONE, ROUTE) + on("direct on uvicorn with asyncio", ALONE, ROUTE)
OUTSIDE = on("nginx", NCHAN) + on("C", FLOOR)
OTHERS = on("uvicorn", SSE_STARLETTE, FASTAPI_SSE) + OUTSIDE
PEERS = on("uvicorn", QUEUES, CHANNELS) + on("Go", MERCURE, GO_SSE) + on("Rust", AXUM) + on("Node", BETTER_SSE)
ALL = DIRECT + [one for server in ASGI_SERVERS for one in on(server, ORIGINAL, ROUTE, MOUNTED, ALONE)] + OTHERS
