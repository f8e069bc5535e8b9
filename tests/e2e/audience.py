"""Browsers at several nodes, as cheap as can be, and the account of what each has got."""

import asyncio
import hashlib
import json
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

_EVENT = re.compile(rb"event: message\nid: ([a-z2-7-]+)\ndata: (.*)\n")
_GAP = re.compile(rb"event: gap\n(?:id: .*\n)?data: (.*)\n")
_ID = re.compile(rb"\nid: ([a-z2-7-]+)\n")
# The digits of ids in another alphabet, whose order is that of bytes.
_SORTED = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyz234567", b"0123456789abcdefghijklmnopqrstuv")


class Stream(asyncio.Protocol):
    """One connection of a browser."""

    def __init__(self, browser: "Browser") -> None:
        self.browser = browser
        self.is_over = False
        self._received = bytearray()

    def data_received(self, data: bytes) -> None:
        self._received += data
        # Each chunk holds whole events, so what frames the chunks lies between these.
        if not self.is_over and (end := self._received.rfind(b"\n\n")) >= 0:
            part = bytes(self._received[: end + 2])
            del self._received[: end + 2]
            self.browser.take(part)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.is_over:
            self.browser.comes_back()


class Browser:
    """An EventSource that comes back at once, to the next of its nodes if the last one does not answer."""

    def __init__(self, ports: Sequence[int], keeps: bool = False) -> None:
        self.ports = list(ports)
        self.last_id = b""
        self.count = 0  # of events
        self.gaps: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.connections = 0
        self.texts: list[str] | None = [] if keeps else None
        self.digest = hashlib.blake2b()
        self.changed = asyncio.Event()
        self._stream: Stream | None = None
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                transport, stream = await loop.create_connection(lambda: Stream(self), "127.0.0.1", self.ports[0])
                break
            except OSError:
                self.ports.append(self.ports.pop(0))
                await asyncio.sleep(0.01)
        self.connections += 1
        self._transport, self._stream = transport, stream
        head = b"Last-Event-ID: %s\r\n" % self.last_id if self.last_id else b""
        transport.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n")

    def comes_back(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self.connect())

    def leave(self) -> None:
        if self._stream is not None:
            self._stream.is_over = True
            self._transport.abort()
        if self._task is not None:
            self._task.cancel()

    def take(self, part: bytes) -> None:
        """Whole events; hundreds of thousands a second, so none is looked at alone."""
        ids, texts = [], []
        if events := _EVENT.findall(part):
            ids, texts = map(list, zip(*events, strict=True))
            keys = b" ".join([self.last_id, *ids]).translate(_SORTED).split(b" ")
            if not all(map(operator.lt, keys, keys[1:])):
                self.faults.append(f"ids that do not ascend, behind {self.count} events: {keys}")
            self.count += len(texts)
            self.digest.update(b"\n".join([*texts, b""]))
            if self.texts is not None:
                self.texts += map(bytes.decode, texts)
        for data in _GAP.findall(part):
            self.gaps.append(json.loads(data))
        self.last_id = (_ID.findall(part, max(0, len(part) - 200)) or ids or [self.last_id])[-1]
        self.changed.set()

    async def until(self, condition: Callable[[], object], limit: float = 60) -> None:
        async with asyncio.timeout(limit):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def has(self, number: int, limit: float = 60) -> None:
        """Wait until it has got so many events."""
        await self.until(lambda: self.count >= number, limit)


async def audience(number: int, ports: Sequence[int]) -> list[Browser]:
    """So many browsers, at the nodes in turn, each of which has the id that its stream begins with. The first one keeps
    what it gets."""
    browsers = [Browser([*ports[at % len(ports) :], *ports[: at % len(ports)]], keeps=at == 0) for at in range(number)]
    await asyncio.gather(*(browser.connect() for browser in browsers))
    for browser in browsers:
        await browser.until(lambda browser=browser: browser.last_id)
    return browsers


def assert_one_order(browsers: Sequence[Browser], publishers: dict[str, int]) -> None:
    """That all have got the same, in the same order: everything that the publishers have broadcast, once, in the order
    of each."""
    assert [fault for browser in browsers for fault in browser.faults] == []
    assert [gap for browser in browsers for gap in browser.gaps] == []
    assert {browser.count for browser in browsers} == {sum(publishers.values())}
    assert len({browser.digest.digest() for browser in browsers}) == 1
    texts = browsers[0].texts
    for name, count in publishers.items():
        assert [text for text in texts if text.startswith(f"{name} ")] == [f"{name} {at}" for at in range(count)]
