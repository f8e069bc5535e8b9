"""What JetStream has not confirmed, and its connection: nothing of it may come late."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from engines import Engine, nats_server, proxy
from nats.js.api import StreamConfig
from test_e2e_engines import Follower, items, numbers
from test_e2e_nats import direct, opened

from fastware_sse import _nats_connection, _nats_publisher, _nats_reading, _nats_server
from fastware_sse.backplane import BackplaneError

pytestmark = pytest.mark.e2e


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Engine]:
    with nats_server(tmp_path) as engine:
        yield engine


async def test_a_retry_does_not_go_out_on_a_connection_that_gave_no_answer(
    server: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a network that passes nothing delivers later what was sent, the server has forgotten the messages' ids."""
    for module in (_nats_connection, _nats_publisher, _nats_server):
        monkeypatch.setattr(module, "PATIENCE", 1.0)
    async with direct(server) as js, proxy(server) as network:
        await js.add_stream(StreamConfig("news", subjects=["news"], duplicate_window=4))
        async with opened(network.url) as (stream, epoch, start):
            await stream.publish("aa", items(1, 1))
            network.back.clear()
            for _ in range(2):
                with pytest.raises(BackplaneError):
                    await stream.publish("aa", items(2, 2))
                network.there.clear()
            assert (await js.stream_info("news")).state.messages == 2
            await asyncio.sleep(4)  # the window
            network.there.set()
            network.back.set()
            await asyncio.sleep(0.5)  # until what was held is there
            await stream.open()
            await stream.publish("aa", items(2, 3))
            follower = Follower(stream, epoch, start)
            assert await follower.has(3) == numbers(1, 3)
            await follower.stop()


async def test_what_the_system_has_not_sent_of_a_publish_without_an_answer_is_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_nats_connection, "PATIENCE", 1.0)
    given_up, ended = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"max_payload": 1000000, "headers": true}\r\n')
        while not (await reader.readline()).startswith(b"PING"):
            pass
        writer.write(b"PONG\r\n")
        await given_up.wait()
        try:
            while await reader.read(1 << 16):
                pass
            ended.set_result("in good order")
        except ConnectionResetError:
            ended.set_result("cut")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening, asyncio.timeout(20):
        port = listening.sockets[0].getsockname()[1]
        server = _nats_server.Server(_nats_server.Address(f"nats://127.0.0.1:{port}", None, None))
        connection = await server.connected()
        with pytest.raises(TimeoutError):
            await connection.publish("news", [({}, b"x" * 900_000)] * 2)  # more than the other end takes
        while connection.client.is_connected:
            await asyncio.sleep(0.01)
        given_up.set()
        assert await ended == "cut"
        await server.close()


@pytest.mark.parametrize(("window", "looks"), [(30.0, 0), (9.0, 1)])
async def test_a_retry_that_could_come_behind_the_window_looks_first(window: float, looks: int) -> None:
    """It may take as long as the first one did."""

    class Silent:
        client = SimpleNamespace(max_payload=1000)

        async def publish(self, subject: str, messages: object) -> int:
            raise TimeoutError

    class Looking(_nats_publisher.Publisher):
        looks = 0

        async def _counters(self, *_: object) -> set[int]:
            self.looks += 1
            return set()

    settings = _nats_publisher.Settings("news", "epoch", "news", window, None, None)
    publisher = Looking("aa", 0, "epoch")
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await publisher.publish(Silent(), settings, items(1, 2))
    assert publisher.looks == looks


async def test_who_is_cancelled_while_it_reads_back_does_not_wait_for_the_server(
    server: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """close() has little time left by then."""
    is_reading = asyncio.Event()

    async def pulled(*_: object, **__: object) -> None:
        server.freeze()
        is_reading.set()
        await asyncio.get_running_loop().create_future()

    async with opened(server.url) as (stream, _, _):
        await stream.publish("aa", items(1, 1))
        connection = await stream._share.server.connected()
        monkeypatch.setattr(_nats_reading, "_pulled", pulled)
        task = asyncio.create_task(_nats_reading.read(connection, "news", 1, 9))
        await is_reading.wait()
        task.cancel()
        async with asyncio.timeout(1):
            await asyncio.wait([task])
        server.thaw()
