"""What a stream of JetStream is like: made by us or by somebody else, and edited while it is in use."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from engines import Engine, nats_server
from listening import records
from nats.js.api import StreamConfig
from test_e2e_engines import Follower, items, numbers
from test_e2e_nats import direct, opened, refused

from fastware_sse.backplane import BackplaneRefused

pytestmark = pytest.mark.e2e


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Engine]:
    with nats_server(tmp_path) as engine:
        yield engine


async def test_a_stream_whose_subject_changes_while_it_is_followed(server: Engine) -> None:
    async with (
        direct(server) as js,
        opened(server.url) as (stream, epoch, start),
        opened(server.url) as (reader, _, _),
    ):
        follower = Follower(reader, epoch, start)
        await stream.publish("aa", items(1, 2))
        await follower.has(2)
        await js.update_stream((await js.stream_info("news")).config, subjects=["app.news"])
        assert await stream.epoch() == epoch
        await stream.publish("aa", items(3, 4))
        assert await follower.has(4) == numbers(1, 4)
        page = await reader.page(epoch, start, 9)
        assert page.entries == follower.entries and reader.foreign == 0
        await reader.publish("bb", items(1, 1))  # that page has told it the subject
        assert await follower.has(5) == [*numbers(1, 4), "1"]
        await follower.stop()


async def test_a_stream_that_begins_to_lose_messages_in_its_middle_is_refused_then(server: Engine) -> None:
    async with direct(server) as js, opened(server.url) as (stream, epoch, start):
        config = (await js.stream_info("news")).config
        await js.update_stream(config, subjects=["news", "other"], max_msgs_per_subject=10)
        with pytest.raises(BackplaneRefused, match="has several subjects"):
            await stream.covers(epoch, start)
        assert isinstance(await Follower(stream, epoch, start).error(), BackplaneRefused)


async def test_a_stream_that_confirms_nothing(server: Engine) -> None:
    async with direct(server) as js:
        await js.add_stream(StreamConfig("news", subjects=["news"], no_ack=True))
    await refused(server.url, "the stream 'news' confirms nothing")


async def test_a_stream_that_keeps_less_than_was_asked_for(server: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Only those who follow it are told, once: from outside one need not know the app's maxlen."""
    for maxlen, texts in ((100, []), (50, []), (1000, ["keeps 100 messages, not 1000: nats stream edit changes that"])):
        async with opened(server.url, maxlen=maxlen) as (stream, epoch, start):
            await stream.publish(f"{maxlen}", items(1, 1))
            assert records(caplog, logging.WARNING) == []
            for _ in range(2):
                follower = Follower(stream, epoch, start)
                await follower.has(1)
                await follower.stop()
            assert records(caplog, logging.WARNING) == [f"{stream!r} {text}" for text in texts]
