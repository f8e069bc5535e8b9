"""A server process under soak: started, asked what it holds, and stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
COMMANDS = {
    "uvicorn": "uvicorn --loop uvloop --http httptools --log-level critical --port {port} soak_app:app",
    "granian": "granian --interface asgi --loop asyncio --no-ws --log-level warning --port {port} soak_app:app",
}
START, EXIT, SETTLE = 20.0, 10.0, 20.0  # seconds, at most


class Server:
    def __init__(self, port: int) -> None:
        self.port = port
        self.pid = 0  # of the process that runs the handlers

    async def call(self, method: str, target: str) -> Any:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        writer.write(
            f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()
        )
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        if b" 200 " not in head:
            raise RuntimeError(f"{method} {target}: {head!r}")
        return json.loads(body)

    async def held(self) -> dict[str, int]:
        """What the server holds once it has noticed that the clients are gone: the same three times, at 0.1 s."""
        found: list[dict[str, int]] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE):
                while len(found) < 3 or found[-1]["clients"] or not found[-1] == found[-2] == found[-3]:
                    found.append(await self.call("GET", "/status"))
                    await asyncio.sleep(0.1)
        return {key: count for key, count in found[-1].items() if key != "pid"}

    def rss(self) -> float:
        """Megabytes. The kernel adds them up for this file, and rounds in the others."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Rss:")) / 1024


@asynccontextmanager
async def serving(name: str, event_bytes: int) -> AsyncIterator[Server]:
    """A server that must also stop when it is told to."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *COMMANDS[name].format(port=port).split(),
        cwd=Path(__file__).parent / "apps",
        env=os.environ | {"SOAK_BYTES": str(event_bytes)},
        start_new_session=True,
    )
    server = Server(port)
    try:
        async with asyncio.timeout(START):
            while not server.pid:
                with suppress(ConnectionError):
                    server.pid = (await server.call("GET", "/status"))["pid"]
                await asyncio.sleep(0.05)
        yield server
        process.terminate()
        async with asyncio.timeout(EXIT):
            await process.wait()
    finally:
        with suppress(ProcessLookupError):  # the group: granian's worker too
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
