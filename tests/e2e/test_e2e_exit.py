"""Servers that are told to stop while streams are open: every client sees a clean end, and the server stops."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable

import pytest
from client import LIMIT, Response, connect
from servers import (
    KINDS,
    SERVE,
    SERVE_UVLOOP,
    STOP,
    STOP_IDLE,
    UVICORN,
    Kind,
    Server,
    reserve_port,
    running,
    running_script,
)

pytestmark = pytest.mark.e2e

CLIENTS = 100


async def assert_clean_end(stream: Response) -> None:
    """The last chunk, and then the end of the connection."""
    await stream.end()
    await stream.connection.closed()


async def all_of(awaitables: list[Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for awaitable in awaitables:
            group.create_task(awaitable)


@pytest.mark.parametrize("how", STOP)
@pytest.mark.parametrize("kind", [SERVE, SERVE_UVLOOP], ids=str)
async def test_stops_as_if_no_stream_were_open(kind: Kind, how: str) -> None:
    texts = [f"event {index}" for index in range(50)]
    async with running(kind) as idle, running(kind) as server:
        await idle.has_clients(0)
        STOP_IDLE[how](idle)

        streams = await server.streams(CLIENTS)
        control = await connect(server.port)
        answers = [control.send("POST", "/send", {"text": text}) for text in texts]
        await answers[-1].end()
        STOP[how](server)  # some have not been sent yet, and are owed
        await all_of([assert_clean_end(stream) for stream in streams])
        for stream in streams:
            assert [json.loads(event.data)["text"] for event in stream.events if event.type == "message"] == texts

        assert await server.exit_code() == await idle.exit_code()
        server.assert_no_complaint()


@pytest.mark.parametrize("kind", [SERVE, UVICORN], ids=str)
async def test_without_graceful_exit_the_server_waits_for_its_streams(kind: Kind) -> None:
    options = {"graceful_exit": False, "heartbeat_interval": 0.05}
    async with running(kind, "knobs", BROADCASTER=json.dumps(options)) as server:
        streams = await server.streams(3)
        server.terminate()
        await server.logged("Shutting down")
        for stream in streams:
            number = len(stream.chunks)
            await stream.until(lambda stream=stream, number=number: len(stream.chunks) >= number + 5)
            assert not stream.complete
        assert not server.exited
        for stream in streams:
            stream.connection.close()
        await server.exit_code()
        server.assert_no_complaint()


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_a_client_that_has_only_seen_the_head_is_not_forgotten(kind: Kind) -> None:
    async with running(kind) as server:
        stream = await server.stream()
        server.terminate()
        await assert_clean_end(stream)
        await server.exit_code()
        server.assert_no_complaint()


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_a_stream_that_begins_after_the_signal_ends_at_once(kind: Kind) -> None:
    """Its request came in time, so the server waits for it as it does for the others."""
    async with running(kind, "knobs", BROADCASTER="{}") as server:
        early = await server.stream()
        await server.has_clients(1)
        late = (await connect(server.port)).send("GET", "/late")
        async with asyncio.timeout(LIMIT):
            while not (await server.request("GET", "/status"))["late"]:
                pass
        server.terminate()
        await assert_clean_end(early)
        await assert_clean_end(late)
        assert late.status == 200
        await server.exit_code()
        server.assert_no_complaint()


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_signal_handlers_are_ours_only_while_streams_are_open(kind: Kind) -> None:
    async with running(kind, "knobs", BROADCASTER="{}") as server:
        before = await server.request("GET", "/handlers")
        for _ in range(2):
            streams = await server.streams(2)
            during = await server.request("GET", "/handlers")
            assert all(during[name] != before[name] for name in before)
            streams[0].connection.close()
            await server.has_clients(1)
            assert await server.request("GET", "/handlers") == during
            streams[1].connection.close()
            await server.has_clients(0)
            assert await server.request("GET", "/handlers") == before


async def test_one_uvicorn_run_after_another() -> None:
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(reserve_port()).getsockname()[1] for _ in range(4)]
        async with running_script("two_runs", ports) as server:
            for port, stop in zip(ports, [Server.interrupt, Server.terminate] * 2, strict=True):
                await server.accepts(port)
                streams = await server.streams(10, port)
                await server.request("POST", "/send", {"text": "hello"}, port)
                for stream in streams:  # what ended in the run before has not ended for good
                    await stream.until(lambda stream=stream: b"hello" in stream.body)
                stop(server)
                await all_of([assert_clean_end(stream) for stream in streams])
            assert await server.exit_code() == 0
            assert server.log.endswith("all runs are over\n")
            server.assert_no_complaint()


@pytest.mark.parametrize("how", STOP)
async def test_two_servers_on_one_loop(how: str) -> None:
    outcomes = []
    for streams_each in (0, 10):
        with contextlib.ExitStack() as stack:
            ports = [stack.enter_context(reserve_port()).getsockname()[1] for _ in range(2)]
            async with running_script("two_servers", ports) as server:
                for port in ports:
                    await server.accepts(port)
                streams = [await server.stream(port=port) for port in ports for _ in range(streams_each)]
                await server.has_clients(len(streams))
                STOP[how](server)
                await all_of([assert_clean_end(stream) for stream in streams])
                # asyncio.run() reports Ctrl-C by a traceback of its own.
                outcomes.append((await server.exit_code(), server.log.count("Traceback")))
    assert outcomes[0] == outcomes[1]
