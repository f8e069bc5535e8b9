"""Clients of a Broadcaster on a backplane, in this process, which need other threads to bring things about."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from exchange import Exchange
from resuming import Got, got, headers_of

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream

LIMIT = 20  # seconds for what takes milliseconds


async def until(condition: Callable[[], object]) -> None:
    """Other threads bring it about, and need the GIL."""
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.001)


def in_contact(broadcaster: Broadcaster) -> bool:
    return broadcaster.stats()["backplane"]["epoch"] is not None


class Listener:
    """A client, and what it makes of what it has got."""

    def __init__(self, broadcaster: Broadcaster, last_id: str | None = None) -> None:
        self.exchange = Exchange(EventStream(broadcaster), headers=headers_of(last_id), query_string=b"")

    @property
    def got(self) -> Got:
        return got(self.exchange.text.encode())

    @property
    def texts(self) -> list[str]:
        return self.got.texts

    def ends_with(self, text: object) -> bool:
        """Whether that event is the last that it has got: a look at one message, where there are many."""
        last = self.exchange.messages[-1:]
        return bool(last) and last[0].get("body", b"").endswith(f"\ndata: {text}\n\n".encode())

    async def has(self, *texts: object) -> Got:
        """Wait until it has got these, and nothing else."""
        await until(lambda: self.ends_with(texts[-1]))
        assert self.texts == list(map(str, texts))
        return self.got

    async def leave(self) -> None:
        self.exchange.leave()
        await self.exchange.end()


async def listener(broadcaster: Broadcaster, last_id: str | None = None) -> Listener:
    """One that is registered, and in contact."""
    client = Listener(broadcaster, last_id)
    await until(lambda: len(client.exchange.messages) > 1 and in_contact(broadcaster))
    return client


def records(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]
