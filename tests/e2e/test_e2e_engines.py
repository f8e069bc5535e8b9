"""What RedisStream and JetStream promise alike, on real servers: fastware_sse/backplane.py is the list."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from backdoor import Backdoor, Nats, Redis
from engines import Engine, nats_server, redis_server

from fastware_sse import Broadcaster
from fastware_sse.backplane import (
    PAGE_BYTES,
    Backplane,
    BackplaneError,
    Entry,
    Item,
    Page,
    PositionLost,
    decoded,
    encoded,
)
from fastware_sse.nats import publish as publish_to_nats
from fastware_sse.redis import publish as publish_to_redis

pytestmark = pytest.mark.e2e

LIMIT = 20  # seconds for what takes a moment
LITTLE = 9  # seconds in which a call gives up a server that says nothing
PATIENCE = 13  # and in which one who follows it does


@pytest.fixture(params=["redis", "nats"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[type[Backdoor], Engine]]:
    start, backdoor = (redis_server, Redis) if request.param == "redis" else (nats_server, Nats)
    with start(tmp_path) as engine:
        yield backdoor, engine


@contextlib.asynccontextmanager
async def opened(
    server: tuple[type[Backdoor], Engine], **options: Any
) -> AsyncIterator[tuple[Any, Backplane, str, str]]:
    """The backdoor, a stream that is open, its epoch and its last position."""
    kind, engine = server
    backdoor = kind(engine)
    stream = backdoor.stream(**options)
    try:
        async with asyncio.timeout(60):
            await stream.open()
            epoch = await stream.epoch()
            yield backdoor, stream, epoch, await stream.last()
    finally:
        await stream.close()
        await backdoor.close()


def items(first: int, last: int, size: int = 0) -> list[Item]:
    return [Item(number, "update", b"%d" % number + b"x" * size) for number in range(first, last + 1)]


async def read_all(stream: Backplane, epoch: str, position: str) -> list[Page]:
    """The pages from there to the end."""
    pages = [await stream.page(epoch, position, 256)]
    while not pages[-1].is_last:
        pages.append(await stream.page(epoch, pages[-1].entries[-1].position, 256))
    return pages


class Follower:
    """A task that follows a stream."""

    def __init__(self, stream: Backplane, epoch: str, position: str) -> None:
        self.entries: list[Entry] = []
        self.sizes: list[int] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self._grown = asyncio.Condition()
        self.task = asyncio.create_task(self._run(stream, epoch, position))

    async def _run(self, stream: Backplane, epoch: str, position: str) -> None:
        async for entries in stream.tail(epoch, position):
            async with self._grown:
                self.entries += entries
                self.sizes.append(sum(len(entry.data) for entry in entries))
                self._grown.notify_all()
            await self.may_go_on.wait()

    async def has(self, number: int) -> list[str]:
        """Wait until it has so many entries; return their data."""
        async with asyncio.timeout(LIMIT), self._grown:
            await self._grown.wait_for(lambda: len(self.entries) >= number or self.task.done())
        assert not self.task.done(), self.task
        return [entry.data.decode() for entry in self.entries]

    async def error(self) -> BaseException | None:
        """Wait until it ends."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([self.task])
        return self.task.exception()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


async def test_a_new_stream_is_empty_and_its_start_is_covered(server: Any) -> None:
    async with opened(server) as (_, stream, epoch, last):
        assert last == "a" * stream.digits
        assert len(epoch) == 13
        assert await stream.covers(epoch, last)
        assert (await stream.page(epoch, last, 10)).entries == []
        assert await stream.epoch() == epoch


async def test_what_is_published_is_followed_and_paged_in_order(server: Any) -> None:
    async with opened(server) as (backdoor, stream, epoch, start):
        follower = Follower(stream, epoch, start)
        for first in range(1, 1001, 100):
            await stream.publish("aa", items(first, first + 99))
        assert await follower.has(1000) == numbers(1, 1000)
        places = [decoded(entry.position) for entry in follower.entries]
        assert places == sorted(set(places))
        assert (await stream.page(epoch, start, 5000)).entries == follower.entries
        assert (await stream.page(epoch, start, 10)).entries == follower.entries[:10]
        assert (await stream.page(epoch, follower.entries[9].position, 10)).entries == follower.entries[10:20]
        assert await stream.last() == follower.entries[-1].position
        assert (await stream.page(epoch, follower.entries[-1].position, 10)).entries == []
        late = Follower(stream, epoch, follower.entries[499].position)
        assert await late.has(500) == numbers(501, 1000)
        await follower.stop()
        await stream.publish("aa", items(1001, 1001))
        assert (await late.has(501))[-1] == "1001"
        await late.stop()


async def test_names_and_data_come_back_as_they_were(server: Any) -> None:
    async with opened(server) as (_, stream, epoch, start):
        batch = [Item(1, " spaces ", b" \r\n\n x "), Item(2, "", b""), Item(3, "grüße 🎉", "größe\n".encode())]
        await stream.publish("aa", batch)
        assert [(1, *entry[1:]) for entry in (await stream.page(epoch, start, 9)).entries] == [
            (1, *item[1:]) for item in batch
        ]


async def test_a_second_try_adds_nothing_twice(server: Any) -> None:
    async with opened(server) as (_, stream, epoch, start):
        await stream.publish("aa", items(1, 10))
        await stream.publish("aa", items(1, 10))
        await stream.publish("aa", items(6, 15))
        await stream.publish("bb", items(1, 2))
        page = (await stream.page(epoch, start, 100)).entries
        assert [entry.data.decode() for entry in page] == [*numbers(1, 15), *numbers(1, 2)]


async def test_a_cancelled_try_leaves_the_engine_usable_and_adds_nothing_twice(server: Any) -> None:
    async with opened(server) as (_, stream, epoch, start):
        for last in range(50, 1001, 50):
            task = asyncio.create_task(stream.publish("aa", items(last - 49, last)))
            for _ in range(last % 7):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await stream.publish("aa", items(last - 49, last))
            task = asyncio.create_task(stream.page(epoch, start, 1000))
            for _ in range(last % 11):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert len((await stream.page(epoch, start, 1000)).entries) == last
        assert [entry.data.decode() for entry in (await stream.page(epoch, start, 5000)).entries] == numbers(1, 1000)


async def test_foreign_entries_are_passed_over_and_counted(server: Any) -> None:
    async with opened(server) as (backdoor, stream, epoch, start):
        follower = Follower(stream, epoch, start)
        await backdoor.add_foreign()
        await stream.publish("aa", items(1, 3))
        await backdoor.add_foreign()
        await stream.publish("aa", items(4, 5))
        assert await follower.has(5) == numbers(1, 5)
        assert stream.foreign == 4
        await follower.stop()
        # A page is empty at the end alone, whatever was passed over.
        page, read = Page([], False), []
        while not page.is_last:
            page = await stream.page(epoch, page.entries[-1].position if read else start, 2)
            assert page.is_last or page.entries
            read += [entry.data.decode() for entry in page.entries]
        assert read == numbers(1, 5)


async def test_a_stream_that_was_deleted_and_made_anew_is_another(server: Any) -> None:
    async with opened(server) as (backdoor, stream, epoch, start):
        await stream.publish("aa", items(1, 3))
        [first, *_] = (await stream.page(epoch, start, 1)).entries
        await backdoor.delete()
        with pytest.raises(PositionLost):
            await stream.publish("aa", items(4, 5))
        other = await stream.epoch()
        assert other != epoch
        await stream.publish("aa", items(4, 9))
        for position in (start, first.position):
            assert not await stream.covers(epoch, position)
            with pytest.raises(PositionLost):
                await stream.page(epoch, position, 10)
            follower = Follower(stream, epoch, position)
            assert isinstance(await follower.error(), PositionLost)
            assert follower.entries == []
        assert [
            entry.data.decode() for entry in (await stream.page(other, await _start(stream), 9)).entries
        ] == numbers(4, 9)


async def _start(stream: Backplane) -> str:
    return "a" * stream.digits


async def test_a_stream_that_is_deleted_ends_those_who_follow(server: Any) -> None:
    """At the start of a stream, and behind an entry; whether something follows in the new one or not."""
    async with opened(server) as (backdoor, stream, epoch, start):
        at_start = Follower(stream, epoch, start)
        await stream.publish("aa", items(1, 3))
        assert await at_start.has(3) == numbers(1, 3)
        await backdoor.delete()
        assert await stream.epoch() != epoch
        await stream.publish("aa", items(4, 4))
        assert isinstance(await at_start.error(), BackplaneError)
        assert len(at_start.entries) == 3


async def test_a_stream_that_is_deleted_ends_those_who_follow_in_silence(server: Any) -> None:
    async with opened(server) as (backdoor, stream, epoch, start):
        at_start = Follower(stream, epoch, start)
        await stream.publish("aa", items(1, 3))
        assert await at_start.has(3) == numbers(1, 3)
        await backdoor.delete()
        assert isinstance(await at_start.error(), BackplaneError)


async def test_an_epoch_that_is_renewed_ends_those_who_follow(server: Any) -> None:
    """Also while there is always something to read. Of two who renew it, one is first."""
    async with opened(server) as (_, stream, epoch, start):
        follower = Follower(stream, epoch, start)
        await stream.publish("aa", items(1, 3))
        await follower.has(3)
        other = await stream.renewed(epoch)
        assert other != epoch
        assert await stream.renewed(epoch) == await stream.epoch() == other
        counter = 3
        while not follower.task.done():
            counter += 1
            await stream.publish("aa", items(counter, counter))
            await asyncio.wait([follower.task], timeout=0.05)
        assert isinstance(await follower.error(), PositionLost)
        assert not await stream.covers(epoch, start)
        with pytest.raises(PositionLost):
            await stream.page(epoch, start, 9)
        assert len((await stream.page(other, start, 1000)).entries) == counter
        assert await stream.renewed(other) not in (epoch, other)


async def test_where_entries_were_trimmed_away_is_not_covered(server: Any) -> None:
    async with opened(server) as (backdoor, stream, epoch, start):
        await stream.publish("aa", items(1, 10))
        page = (await stream.page(epoch, start, 10)).entries
        await backdoor.trim(3)
        for position in (start, page[2].position):
            assert not await stream.covers(epoch, position)
            with pytest.raises(PositionLost):
                await stream.page(epoch, position, 10)
            follower = Follower(stream, epoch, position)
            assert isinstance(await follower.error(), PositionLost)
            assert follower.entries == []
        assert await stream.covers(epoch, page[7].position)
        assert (await stream.page(epoch, page[7].position, 10)).entries == page[8:]
        assert await stream.last() == page[-1].position


@pytest.mark.parametrize("number", [2**65 - 1, 2**64, 2**64 - 1, 2**64 - 2, 2**63])
async def test_a_position_that_somebody_made_up_is_lost(server: Any, number: int) -> None:
    """Redis and NATS refuse what has more than 64 bits, as if something were wrong with them."""
    async with opened(server) as (_, stream, epoch, _):
        await stream.publish("aa", items(1, 3))
        position = encoded(number, 13) * (stream.digits // 13)
        assert not await stream.covers(epoch, position)
        with pytest.raises(PositionLost):
            await stream.page(epoch, position, 9)


async def test_a_slow_follower_notices_that_entries_were_trimmed_away(server: Any) -> None:
    async with opened(server) as (backdoor, stream, epoch, start):
        follower = Follower(stream, epoch, start)
        await stream.publish("aa", items(1, 1))
        follower.may_go_on.clear()
        await follower.has(1)
        for first in range(2, 20_002, 500):  # more than what waits in connections and for the follower
            await stream.publish("aa", items(first, first + 499, size=1000))
        await backdoor.trim(2)
        follower.may_go_on.set()
        assert isinstance(await follower.error(), PositionLost)
        whole = numbers(1, len(follower.entries))
        assert [entry.data.decode().rstrip("x") for entry in follower.entries] == whole


async def test_old_entries_go_when_there_are_more_than_maxlen(server: Any) -> None:
    async with opened(server, maxlen=100) as (_, stream, epoch, start):
        await stream.publish("aa", items(1, 1000))
        assert not await stream.covers(epoch, start)
        last = await stream.last()
        await stream.publish("aa", items(1001, 1050))
        assert [entry.data.decode() for entry in (await stream.page(epoch, last, 100)).entries] == numbers(1001, 1050)


async def test_large_entries_are_read_few_at_a_time(server: Any) -> None:
    async with opened(server) as (_, stream, epoch, start):
        for number in range(1, 201, 20):
            await stream.publish("aa", items(number, number + 19, size=100_000))
        follower = Follower(stream, epoch, start)
        await follower.has(200)
        assert max(follower.sizes) <= 8 << 20
        await follower.stop()


async def test_pages_are_bounded_in_bytes(server: Any) -> None:
    """Where sizes change at once, too; what is larger than a page is one by itself."""
    async with opened(server) as (backdoor, stream, epoch, start):
        await stream.publish("aa", items(1, 300))
        for number in range(301, 341):
            await stream.publish("aa", items(number, number, size=900_000 if number % 2 else 90_000))
        await stream.publish("aa", items(341, 700))
        pages = await read_all(stream, epoch, start)
        assert [entry.data.decode().rstrip("x") for page in pages for entry in page.entries] == numbers(1, 700)
        sizes = [sum(len(entry.data) for entry in page.entries) for page in pages]
        assert max(sizes) <= PAGE_BYTES + 900_010
        assert len(pages[0].entries) == 256
        assert len(pages) <= 2 + 40 + 2


async def test_a_server_that_is_killed_and_started_again(server: Any) -> None:
    async with opened(server) as (backdoor, stream, epoch, start):
        follower = Follower(stream, epoch, start)
        await stream.publish("aa", items(1, 10))
        await follower.has(10)
        backdoor.server.kill()
        assert type(await follower.error()) is BackplaneError
        for call in (stream.publish("aa", items(11, 20)), stream.open(), stream.last(), stream.page(epoch, start, 3)):
            with pytest.raises(BackplaneError) as raised:
                await call
            assert type(raised.value) is BackplaneError
        backdoor.server.start()
        await stream.open()
        assert await stream.epoch() == epoch
        follower = Follower(stream, epoch, follower.entries[-1].position)
        await stream.publish("aa", items(1, 20))
        assert await follower.has(10) == numbers(11, 20)
        await follower.stop()


async def test_a_server_that_stands_still_is_given_up_in_time(server: Any) -> None:
    async with opened(server) as (backdoor, stream, epoch, start):
        await stream.publish("aa", items(1, 10))
        follower = Follower(stream, epoch, await stream.last())
        await asyncio.sleep(0)
        backdoor.server.freeze()
        calls = [stream.publish(name, items(11, 20)) for name in ("aa", "bb", "cc")]
        calls += [stream.last(), stream.covers(epoch, start), stream.epoch(), stream.page(epoch, start, 3)]
        async with asyncio.timeout(LITTLE):  # at the same time: one does not wait for the others to give up
            results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [BackplaneError] * 7
        assert type(await follower.error()) is BackplaneError
        async with asyncio.timeout(LITTLE):
            results = await asyncio.gather(*(stream.last() for _ in range(4)), return_exceptions=True)
        assert [type(result) for result in results] == [BackplaneError] * 4
        backdoor.server.thaw()
        await stream.open()
        await stream.publish("aa", items(11, 20))
        assert [entry.data.decode() for entry in (await stream.page(epoch, start, 10)).entries] == numbers(1, 10)
        for name in ("bb", "cc"):
            await stream.publish(name, items(11, 20))
        page = (await stream.page(epoch, start, 100)).entries
        assert sorted(int(entry.data) for entry in page) == sorted([*range(1, 11), *3 * list(range(11, 21))])


async def test_close_ends_those_who_follow(server: Any) -> None:
    async with opened(server) as (_, stream, epoch, start):
        follower = Follower(stream, epoch, start)
        await stream.publish("aa", items(1, 1))
        await follower.has(1)
        await stream.close()
        assert type(await follower.error()) is BackplaneError
        with pytest.raises(BackplaneError):
            await stream.last()
        await stream.open()
        assert await stream.last() == follower.entries[-1].position


async def test_two_streams_are_followed_at_once_and_one_more_joins(server: Any) -> None:
    async with opened(server) as (backdoor, stream, epoch, start):
        first = Follower(stream, epoch, start)
        await stream.publish("aa", items(1, 1))
        await first.has(1)  # and waits for more
        for name in ("sport", "weather"):
            other = backdoor.stream(name)
            await other.open()
            joined = Follower(other, await other.epoch(), await other.last())
            began = asyncio.get_running_loop().time()
            await other.publish("aa", items(1, 2))
            assert await joined.has(2) == numbers(1, 2)
            assert asyncio.get_running_loop().time() - began < 1
            await joined.stop()
            await other.close()
        await stream.publish("aa", items(2, 2))
        assert await first.has(2) == numbers(1, 2)
        await first.stop()


def test_one_event_from_outside(server: Any) -> None:
    kind, engine = server
    kind.publish(engine.url, "news", "update", {"a": [1]})
    kind.publish(engine.url, "news", "update", "text\nas it is")

    async def read() -> None:
        async with opened(server) as (_, stream, epoch, _):
            page = (await stream.page(epoch, await _start(stream), 9)).entries
            assert [entry[1:] for entry in page] == [("update", b'{"a":[1]}'), ("update", b"text\nas it is")]
            kind.publish(engine.url, "news", "update", "while a loop runs here")  # as a test would, or a handler
            assert len((await stream.page(epoch, await _start(stream), 9)).entries) == 3

    asyncio.run(read())
    assert [thread for thread in threading.enumerate() if "publish" in thread.name] == []


@pytest.mark.parametrize(
    ("event", "data", "error"),
    [
        (b"update", "", TypeError),
        ("update", b"bytes", TypeError),
        ("update", object(), TypeError),
        ("update", msgspec.Raw(b"\xff"), UnicodeDecodeError),
        ("a\rb", "", ValueError),
        ("a\nb", "", ValueError),
        ("a\0b", "", ValueError),
        ("\ud800", "", UnicodeEncodeError),
        ("update", "\ud800", UnicodeEncodeError),
    ],
)
@pytest.mark.parametrize(
    ("publish", "url"), [(publish_to_redis, "redis://127.0.0.1:1"), (publish_to_nats, "nats://127.0.0.1:1")]
)
def test_a_wrong_event_from_outside_is_refused_before_a_server_is_asked(
    publish: Callable[..., None], url: str, event: Any, data: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        publish(url, "news", event, data)


def test_from_outside_without_a_server(server: Any) -> None:
    kind, engine = server
    engine.kill()
    with pytest.raises(BackplaneError, match=r"127\.0\.0\.1"):
        kind.publish(engine.url, "news", "update", "")


@pytest.mark.parametrize(
    ("publish", "url"),
    [(publish_to_redis, "redis://a.name"), (publish_to_nats, "nats://a.name")],
    ids=["redis", "nats"],
)
def test_from_outside_without_a_name_server(
    publish: Callable[..., None], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **options: answers.wait(60) and [])
    began = time.monotonic()
    with pytest.raises(BackplaneError):
        publish(url, "news", "update", "")
    assert time.monotonic() - began < LITTLE
    answers.set()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fastware_sse.cli", *arguments]


def test_publish_and_tail_on_the_command_line(server: Any) -> None:
    _, engine = server
    pair = engine.url, "news"
    subprocess.run(command("publish", *pair, "update", "first"), check=True, timeout=LIMIT)
    tail = subprocess.Popen(command("tail", *pair, "--from", "start"), stdout=subprocess.PIPE, text=True)
    try:
        first = json.loads(tail.stdout.readline())
        assert (first["event"], first["data"]) == ("update", "first")
        subprocess.run(command("publish", *pair, "grüße", "zweite\nZeile"), check=True, timeout=LIMIT)
        second = json.loads(tail.stdout.readline())
        assert (second["event"], second["data"]) == ("grüße", "zweite\nZeile")
        assert decoded(second["position"]) > decoded(first["position"])
        engine.kill()
        assert tail.wait(LIMIT) == 1
    finally:
        tail.kill()
        tail.stdout.close()
    failed = subprocess.run(command("publish", *pair, "update", ""), capture_output=True, text=True, timeout=LIMIT)
    assert failed.returncode == 1
    assert "127.0.0.1" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_tail_ends_with_the_first_event_that_nobody_reads(server: Any) -> None:
    _, engine = server
    pair = engine.url, "news"
    subprocess.run(command("publish", *pair, "update", ""), check=True, timeout=LIMIT)
    tail = subprocess.Popen(
        command("tail", *pair, "--from", "start"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        tail.stdout.readline()
        tail.stdout.close()
        subprocess.run(command("publish", *pair, "update", ""), check=True, timeout=LIMIT)
        assert (tail.wait(LIMIT), tail.stderr.read()) == (1, "")
    finally:
        tail.kill()
        tail.stderr.close()


def test_tail_makes_no_stream(server: Any) -> None:
    kind, engine = server
    run = subprocess.run(command("tail", engine.url, "news"), capture_output=True, text=True, timeout=LIMIT)
    assert run.returncode == 1 and run.stderr == "there is no stream 'news'\n"

    async def made() -> bool:
        stream = kind(engine).stream()
        await stream.open()
        try:
            await stream.last()
        except PositionLost:
            return False
        finally:
            await stream.close()
        return True

    assert not asyncio.run(made())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("publish", "http://anna:secret@localhost", "news", "update", ""), "not a URL of Redis or NATS"),
        (("publish", "redis://", "news", "update", ""), "names no host"),
        (("publish", "redis://localhost", "news", "a\nb", ""), "CR, LF or NUL"),
        (("tail", "nats://localhost", "a.b"), "name of a stream"),
        (("tail", "nats://localhost", "news", "--from", "xyz"), "13 characters, a to z and 2 to 7; or start"),
    ],
)
def test_wrong_usage_of_the_commands(arguments: tuple[str, ...], text: str) -> None:
    run = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=LIMIT)
    assert run.returncode == 2
    assert text in run.stderr
    assert "secret" not in run.stderr


def test_a_broadcaster_that_is_closed_at_any_moment_is_gone(server: tuple[type[Backdoor], Engine]) -> None:
    """The client libraries swallow a cancellation now and then, and its reader would come back after close()."""

    kind, engine = server
    backdoor = kind(engine)

    def begun(name: str) -> Broadcaster:
        broadcaster = Broadcaster(strict=False, backplane=backdoor.stream(name))
        broadcaster.broadcast("update", "")
        return broadcaster

    other = begun("other")  # the thread goes on
    for number in range(60):
        broadcaster = begun(f"news{number}")
        time.sleep(number / 60 * 0.015)
        broadcaster.close()
    readers = [task for task in asyncio.all_tasks(other._backplane._loop) if "Relay._read" in repr(task)]
    other.close()
    assert len(readers) == 1
