"""The warning that the process will soon take no more clients: when it comes, and that it comes once."""

import asyncio
import logging
import resource
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support import Client, connect, permissive, request, turns

from fastware_sse import Broadcaster, _limits

LIMIT = 20
TEXT = (
    "%d SSE clients, near the limit of 20 connections (clients of HTTP/1.1 have one each): "
    "the process may not open more files (ulimit -n)"
)


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged in a process that has not warned yet and may open LIMIT files; filled as it happens."""
    monkeypatch.setattr(_limits, "_spare", 0)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (LIMIT, 1_000_000))
    texts: list[str] = []
    monkeypatch.setattr(caplog.handler, "emit", lambda record: texts.append(record.getMessage()))
    caplog.set_level(logging.WARNING, "fastware_sse")
    return texts


async def leave(clients: list[Client]) -> None:
    for client in clients:
        await client.leave()


async def test_it_comes_once_with_the_client_that_makes_it_nine_tenths(records: list[str]) -> None:
    broadcaster = permissive()
    clients = [await connect(broadcaster) for _ in range(17)]
    assert records == []
    clients.append(await connect(broadcaster))
    assert records == [TEXT % 18]
    clients += [await connect(broadcaster) for _ in range(5)]
    await leave(clients)
    clients = [await connect(broadcaster) for _ in range(20)]
    assert records == [TEXT % 18]
    await leave(clients)


async def test_those_who_have_left_do_not_count(records: list[str]) -> None:
    broadcaster = permissive()
    staying = [await connect(broadcaster) for _ in range(16)]
    for _ in range(100):
        await leave([await connect(broadcaster)])
    assert records == []
    staying += [await connect(broadcaster) for _ in range(2)]
    assert records == [TEXT % 18]
    await leave(staying)


async def test_the_clients_of_all_broadcasters_count(records: list[str]) -> None:
    clients = [await connect(permissive()) for _ in range(18)]
    assert records == [TEXT % 18]
    await leave(clients)


async def test_the_queues_of_a_subclass_count(records: list[str]) -> None:
    class Own(Broadcaster):
        async def _event_generator(self, queue: asyncio.Queue[str], initial: object = None) -> AsyncIterator[str]:
            async for chunk in super()._event_generator(queue):
                yield chunk

    broadcaster = Own()
    clients = [Client((await broadcaster.stream(request())).generator) for _ in range(18)]
    await turns()
    assert records == [TEXT % 18]
    await leave(clients)


async def test_without_a_limit_there_is_none(records: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    broadcaster = permissive()
    clients = [await connect(broadcaster) for _ in range(200)]
    assert records == []
    await leave(clients)


@pytest.mark.parametrize(
    "function",
    [
        {"__name__": "granian.server.mp", "text": "backpressure = 'a lot'"},
        {"__name__": "uvicorn.server", "text": "self = None"},
    ],
    ids=lambda function: function["__name__"],
)
async def test_a_server_that_is_not_as_expected_costs_nobody_a_stream(
    function: dict[str, Any], records: list[str]
) -> None:
    exec(f"async def serve(call):\n    {function['text']}\n    return await call()\n", function)

    async def connect_all() -> list[Client]:
        _limits.begin()  # the server's function is among those that called it
        return [await connect(broadcaster) for _ in range(18)]

    broadcaster = permissive()
    clients = await function["serve"](connect_all)
    assert records == [TEXT % 18]
    await leave(clients)
