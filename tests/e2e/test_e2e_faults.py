"""Faults around a stream: a process without files, code of the user's that raises. They harm no other stream."""

import asyncio
import os

import pytest
from client import LIMIT, ProtocolError, Response, all_got
from servers import GRANIAN, UVICORN, UVICORN_UVLOOP, Kind, Server, running, uvicorn

from fastware_sse._target import raise_file_limit

pytestmark = pytest.mark.e2e

STREAMS = 1000
FILES = 1100  # that the server may open


def needs_files(number: int) -> None:
    if raise_file_limit() < number:
        message = f"the test needs {number} open files"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)


async def open_until_no_file_is_left(server: Server) -> list[Response]:
    """Streams more, as many as the server has files for."""
    streams: list[Response] = []
    said = asyncio.create_task(server.logged("Too many open files"))
    try:
        while not said.done():
            stream = (await server.connect()).send("GET", "/")
            answered = asyncio.create_task(stream.head())
            await asyncio.wait({said, answered}, return_when=asyncio.FIRST_COMPLETED)
            if answered.cancel():
                continue
            if answered.exception() is not None:  # uvloop says nothing, and closes the connection
                break
            streams.append(stream)
    finally:
        said.cancel()
    return streams


# asyncio's own loop logs a traceback for each connection that its backlog has room for, once a second.
@pytest.mark.parametrize("kind", [uvicorn("asyncio", "h11", "--backlog", "8"), UVICORN_UVLOOP, GRANIAN], ids=str)
async def test_a_server_without_files_serves_its_streams_and_takes_more_when_some_have_left(kind: Kind) -> None:
    needs_files(2 * FILES)
    texts = [[f"{time} {number}" for number in range(100)] for time in ("before", "without", "after")]
    async with running(kind, "few_files", FILES=str(FILES)) as server:
        spare = [await server.connect() for _ in texts]  # for questions when there is no file for one more
        streams = [await server.stream() for _ in range(STREAMS)]
        await spare[0].request("POST", "/burst", {"texts": texts[0]})
        await all_got(streams, texts[0])

        more = await open_until_no_file_is_left(server)
        beyond = (await server.connect()).send("GET", "/")
        await spare[1].request("POST", "/burst", {"texts": texts[1]})
        await all_got(streams, texts[0] + texts[1])
        await all_got(more, texts[1])
        assert beyond.status is None

        for stream in [*more, *streams[: STREAMS // 10]]:
            stream.connection.close()
        await taken(server, beyond)
        late = await server.stream()
        await server.has_clients((await spare[2].request("GET", "/status"))["clients"])
        await server.burst(*texts[2])
        await all_got([late], texts[2])
        await all_got(streams[STREAMS // 10 :], [text for each in texts for text in each])


async def taken(server: Server, beyond: Response) -> None:
    """Wait until the server takes connections again: the one that waited, or a new one."""
    try:
        await beyond.head()
        assert beyond.status == 200
    except (ProtocolError, ConnectionError):  # it was closed
        async with asyncio.timeout(LIMIT):
            while True:
                try:
                    await server.request("GET", "/status")
                    return
                except (ProtocolError, ConnectionError):
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", [UVICORN, GRANIAN], ids=str)
async def test_code_of_the_users_that_raises_ends_that_request_alone(kind: Kind) -> None:
    async with running(kind, "faulty") as server:
        streams = await server.streams(10)
        connection = await server.connect()
        texts = []
        for path in ("encoder", "initial", "format", "initial-hook", "initial-encoder", "authorize"):
            response = await connection.send("GET", f"/{path}").end()
            assert response.status == 500
            assert b"user's own" not in response.body
            texts.append(path)
            status = await connection.request("POST", "/burst", {"texts": [path]})
            assert status["clients"] == len(streams)
            await all_got(streams, texts)
