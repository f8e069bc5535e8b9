"""Every framework's example under our protocol class: its streams go the direct way, with no line changed."""

import asyncio

import pytest
from client import LIMIT, Connection, all_got
from servers import DIRECT, Kind, Server, running
from test_e2e_exit import all_of, assert_clean_end
from test_e2e_frameworks import EXAMPLES, needing

pytestmark = pytest.mark.e2e

NAMES = {example.name: example.package for example in EXAMPLES if example.name != "aiohttp_app"}  # a server of its own
NAMES |= {"asgi_app": "fastware_sse", "fastware_app": "fastware"}


async def direct(server: Server, number: int) -> None:
    """Wait until so many clients are connected, all of them directly."""
    connection = await server.connect()
    async with asyncio.timeout(LIMIT):
        while True:
            now = await connection.request("POST", "/control", 0)
            if now["direct"] == now["connected"] == number:
                break
            await asyncio.sleep(0.01)
    connection.close()


@pytest.mark.parametrize("kind", [DIRECT[0], DIRECT[-1]], ids=str)
@pytest.mark.parametrize("name", [pytest.param(name, marks=needing(package)) for name, package in NAMES.items()])
async def test_streams_go_the_direct_way_by_themselves(name: str, kind: Kind) -> None:
    async with running(kind, "direct_example", EXAMPLE=name) as server:
        streams = [await server.stream() for _ in range(20)]
        await direct(server, 20)
        for stream in streams:
            await stream.until(lambda stream=stream: stream.size > 0)
            stream.clear()  # of the initial events, if the example has some
        for start in range(0, 200, 50):
            await server.request("POST", "/control", 50)
            await all_got(streams, [str(number) for number in range(start + 50)])
        for index, stream in enumerate(streams[10:]):
            (Connection.close, Connection.reset)[index % 2](stream.connection)
        await direct(server, 10)
        await server.request("POST", "/control", 10)
        server.terminate()
        await all_of([assert_clean_end(stream) for stream in streams[:10]])
        for stream in streams[:10]:
            assert stream.data == [str(number) for number in range(210)]
        await server.exit_code()
        server.assert_no_complaint()
