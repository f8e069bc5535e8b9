"""Real servers as subprocesses, each on a port of its own, none of which outlives the test that started it."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from client import LIMIT, Connection, Response, connect

import fastware_sse

HERE = Path(__file__).parent
APPS = HERE / "apps"
EXAMPLES = HERE.parents[1] / "examples"
PACKAGE = Path(fastware_sse.__file__).parents[1]

PROTOCOL = "fastware_sse.uvicorn:Protocol"
EXIT_LIMIT = 5  # seconds; what keeps a server from stopping keeps it for ever, and all of them take less than one


class Kind(NamedTuple):
    """A way to serve an application; {app}, {file} and {port} stand for what a test asks for."""

    name: str
    command: list[str]

    def __str__(self) -> str:
        return self.name


def serve(loop: str) -> Kind:
    return Kind(f"serve-{loop}", [str(APPS / "run.py"), "{file}", "{port}", loop])


def uvicorn(loop: str, http: str, *more: str) -> Kind:
    options = ["--port", "{port}", "--loop", loop, "--http", http, "--no-access-log", *more]
    return Kind(f"uvicorn-{loop}-{http}", ["-m", "uvicorn", "{app}:app", *options])


def direct(loop: str, http: str, *more: str) -> Kind:
    """uvicorn with our protocol class, which stands on httptools where that is installed."""
    options = uvicorn(loop, PROTOCOL, *more).command[2:]
    program = ["-m", "uvicorn"] if http == "httptools" else [str(APPS / "without_httptools.py")]
    return Kind(f"direct-{loop}-{http}", [*program, *options])


def granian(loop: str, *more: str) -> Kind:
    options = ["--port", "{port}", "--loop", loop, "--no-ws", "--workers-kill-timeout", "3", *more]
    return Kind(f"granian-{loop}", ["-m", "granian", "--interface", "asgi", *options, "{app}:app"])


def hypercorn(name: str, *more: str) -> Kind:
    options = ["--bind", "127.0.0.1:{port}", "--graceful-timeout", "1", "--keep-alive", "3", *more]
    return Kind(name, ["-m", "hypercorn", *options, "{app}:app"])


SERVE = serve("asyncio")
SERVE_UVLOOP = serve("uvloop")
UVICORN = uvicorn("asyncio", "h11")
UVICORN_HTTPTOOLS = uvicorn("asyncio", "httptools")
UVICORN_UVLOOP_H11 = uvicorn("uvloop", "h11")
UVICORN_UVLOOP = uvicorn("uvloop", "httptools")
GRANIAN = granian("asyncio", "--backpressure", "5000")
GRANIAN_UVLOOP = granian("uvloop", "--backpressure", "5000")
HYPERCORN = hypercorn("hypercorn")
HYPERCORN_W0 = hypercorn("hypercorn-w0", "-w", "0")
DAPHNE = Kind("daphne", ["-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", "-v", "0", "{app}:app"])
DIRECT = [direct(loop, http) for loop in ("asyncio", "uvloop") for http in ("httptools", "h11")]
KINDS = [SERVE, SERVE_UVLOOP, UVICORN, UVICORN_UVLOOP]


class Server:
    """A running server, and the connections that a test has made to it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, tls: ssl.SSLContext | None) -> None:
        self.port = port
        self.tls = tls
        self.log = ""
        self._interrupted = False
        self._process = process
        self._grown = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self._process.stdout:
            async with self._grown:
                self.log += line.decode()
                self._grown.notify_all()

    async def accepts(self, port: int) -> None:
        """Wait until it accepts connections on `port`; by then it handles signals. Not every server says when."""
        async with asyncio.timeout(LIMIT):
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    (await self.connect(port)).close()
                    return
                assert not self.exited
                await asyncio.sleep(0.01)

    async def logged(self, text: str) -> None:
        """Wait until it has said `text`."""
        async with asyncio.timeout(LIMIT), self._grown:
            await self._grown.wait_for(lambda: text in self.log)

    async def connect(self, port: int | None = None) -> Connection:
        return await connect(port or self.port, tls=self.tls)

    async def stream(self, target: str = "/events", port: int | None = None) -> Response:
        """A client of the event stream, that has seen the head of the response."""
        response = await (await self.connect(port)).send("GET", target).head()
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["transfer-encoding"] == "chunked"
        return response

    async def streams(self, number: int, port: int | None = None) -> list[Response]:
        """So many clients, the first ones, all of them registered."""
        responses = await asyncio.gather(*(self.stream(port=port) for _ in range(number)))
        await self.has_clients(number, port)
        return responses

    async def request(self, method: str, target: str, data: object = None, port: int | None = None) -> dict:
        """Ask on a connection of its own: uvicorn closes one that has been idle for 5 s."""
        connection = await self.connect(port)
        try:
            return await connection.request(method, target, data)
        finally:
            connection.close()

    async def burst(self, *texts: str) -> dict[str, int]:
        """The application broadcasts them in one go, and answers with its status."""
        return await self.request("POST", "/burst", {"texts": texts})

    async def nothing_is_left(self, before: dict[str, int]) -> None:
        """Wait until there are as many clients, tasks and descriptors as `before`, a /status."""
        connection = await self.connect()
        async with asyncio.timeout(LIMIT):
            while True:
                now = await connection.request("GET", "/status")
                if all(now[what] is None or now[what] <= before[what] for what in before):
                    break
                await asyncio.sleep(0.02)
        connection.close()

    async def has_clients(self, number: int, port: int | None = None) -> None:
        """Ask /status until it says so. Nothing tells a client that the server has seen it come or go."""
        connection = await self.connect(port)
        async with asyncio.timeout(LIMIT):
            while (await connection.request("GET", "/status"))["clients"] != number:
                pass
        connection.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal does it: to every process of the group."""
        self._interrupted = True
        os.killpg(self._process.pid, signal.SIGINT)

    def interrupt_first_process(self) -> None:
        """SIGINT, but not to workers: the end that granian comes to by Ctrl-C when it does not race with them.

        On uvloop its worker, idle and with no stream or fastware_sse in sight, now and then deadlocks at Ctrl-C (2 of
        520 under load): the worker gets SIGINT, and SIGTERM from its parent at the same moment.
        """
        self._process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """SIGTERM, as a service manager does it: to the process that it has started."""
        self._process.send_signal(signal.SIGTERM)

    async def exit_code(self, limit: float = EXIT_LIMIT) -> int:
        """Wait until it and the workers that it has started are gone."""
        async with asyncio.timeout(limit):
            code = await self._process.wait()
            await self._reader  # the pipe is closed once no process holds it
        if self._interrupted and "[ERROR] Unexpected exit from worker" in self.log:
            # Granian's worker got the signal too, and was gone before its parent had noticed its own: without streams
            # as with them, now and then. The parent often makes that a 1; the worker itself has stopped as it should.
            assert code in (0, 1) and "[INFO] Stopping worker" in self.log
            return 0
        return code

    @property
    def exited(self) -> bool:
        return self._process.returncode is not None

    def assert_no_complaint(self) -> None:
        """No exception that nobody wanted, no crash. Granian's own panic, and the abort after it, are let pass."""
        for word in ("Traceback", "never retrieved", "Exception ignored", "was destroyed", "Warning"):
            assert word not in self.log, self.log
        for word in ("Segmentation fault", "Assertion"):
            assert word not in self.log, self.log

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await self._reader


STOP: dict[str, Callable[[Server], None]] = {"ctrl-c": Server.interrupt, "sigterm": Server.terminate}
STOP_IDLE = STOP | {"ctrl-c": Server.interrupt_first_process}
"""Where no stream is open."""


def reserve_port() -> socket.socket:
    """A port that the system gives to nobody else while the socket is open, and that a server can still listen on."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


@contextlib.asynccontextmanager
async def running(
    kind: Kind,
    app: str = "fastware_app",
    port: int | None = None,
    tls: ssl.SSLContext | None = None,
    **environment: str,
) -> AsyncIterator[Server]:
    """Serve `app`, a module of examples/ or apps/, on `port`, which the caller has reserved, or on any."""
    with contextlib.ExitStack() as stack:
        if port is None:
            port = stack.enter_context(reserve_port()).getsockname()[1]
        file = next(folder / f"{app}.py" for folder in (EXAMPLES, APPS) if (folder / f"{app}.py").exists())
        command = [part.format(app=app, file=file, port=port) for part in kind.command]
        async with _process([sys.executable, *command], port, tls, environment) as server:
            await server.accepts(port)
            yield server


@contextlib.asynccontextmanager
async def running_script(name: str, arguments: Sequence[object], **environment: str) -> AsyncIterator[Server]:
    """Run one of apps/. `arguments` begin with the ports that it listens on, if it does."""
    command = [sys.executable, str(APPS / f"{name}.py"), *map(str, arguments)]
    port = arguments[0] if isinstance(arguments[0], int) else 0
    async with _process(command, port, None, environment) as server:
        yield server


@contextlib.asynccontextmanager
async def running_command(command: list[str], port: int) -> AsyncIterator[Server]:
    """Run another server than ours, which listens on `port`."""
    async with _process(command, port, None, {}) as server:
        await server.accepts(port)
        yield server


@contextlib.asynccontextmanager
async def _process(
    command: list[str], port: int, tls: ssl.SSLContext | None, environment: dict[str, str]
) -> AsyncIterator[Server]:
    path = os.pathsep.join(map(str, [PACKAGE, EXAMPLES, APPS]))
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"} | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # a process group of its own, for Ctrl-C
    )
    server = Server(process, port, tls)
    try:
        yield server
    except BaseException:
        print(server.log)  # pytest shows it beside the failure
        raise
    finally:
        await server.kill()
