"""Pages: what lies far back is read once for all who ask, in bounded memory."""

import asyncio
import random

import pytest
from memory import Memory, Server

from fastware_sse import _pages
from fastware_sse._outage import Outage
from fastware_sse._pages import Pages
from fastware_sse.backplane import BackplaneError, Page, PositionLost, decoded, encoded


def pages_of(server: Server) -> Pages:
    memory = Memory(server)
    return Pages(memory, server.epoch, Outage(memory))


async def read_on(pages: Pages, start: int) -> list[int]:
    """From `start` to the end, as a client that comes back does."""
    at, numbers = start, []
    while True:
        page = await pages.page(encoded(at, 13))
        numbers += [decoded(entry.position) for entry in page.entries]
        at = numbers[-1] if numbers else at
        if page.is_last:
            return numbers


async def test_one_reads_everything_in_pages_of_bounded_size() -> None:
    server = Server()
    server.fill(5_000)
    assert await read_on(pages_of(server), 0) == list(range(1, 5_001))
    assert 5_000 / _pages._MOST_ENTRIES <= len(server.pages) < 30


async def test_many_who_come_from_different_places_share_what_is_read() -> None:
    server = Server()
    server.fill(5_000)
    pages = pages_of(server)
    starts = random.Random(8).choices(range(5_001), k=1_000)
    for start, numbers in zip(starts, await asyncio.gather(*(read_on(pages, s) for s in starts)), strict=True):
        assert numbers == list(range(start + 1, 5_001))
    # The chain from the first one on, and what some find at its end.
    assert len(server.pages) < 40


async def test_one_read_at_a_time() -> None:
    class Watchful(Memory):
        reading = most = 0

        async def page(self, epoch: str, position: str, n: int) -> Page:
            self.reading += 1
            self.most = max(self.most, self.reading)
            await asyncio.sleep(0)
            try:
                return await super().page(epoch, position, n)
            finally:
                self.reading -= 1

    server = Server()
    server.fill(500)
    memory = Watchful(server)
    pages = Pages(memory, server.epoch, Outage(memory))
    await asyncio.gather(*(read_on(pages, start) for start in range(0, 500, 7)))
    assert memory.most == 1


async def test_nobody_waits_for_ever_behind_others_who_come_further_back() -> None:
    server = Server()
    server.fill(3_000)
    pages = pages_of(server)
    last = asyncio.create_task(pages.page(encoded(2_999, 13)))
    for start in range(0, 3_000, 300):
        if last.done():
            break
        await pages.page(encoded(2_700 - start, 13))
    assert last.done() and len(server.pages) <= 3
    assert last.result().is_last


async def test_one_whose_place_cannot_be_read_holds_up_nobody() -> None:
    class Picky(Memory):
        async def page(self, epoch: str, position: str, n: int) -> Page:
            if decoded(position) > 500:
                raise BackplaneError("it cannot be read")
            return await super().page(epoch, position, n)

    server = Server()
    server.fill(500)
    memory = Picky(server)
    pages = Pages(memory, server.epoch, Outage(memory))
    assert (await pages.page(encoded(490, 13))).is_last
    bad = asyncio.create_task(pages.page(encoded(700, 13)))
    assert (await asyncio.wait_for(pages.page(encoded(10, 13)), 10)).entries
    assert not bad.done()
    bad.cancel()


async def test_what_is_kept_is_bounded_and_goes_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pages, "_KEPT_BYTES", 100_000)
    monkeypatch.setattr(_pages, "_KEPT_FOR", 0.01)
    server = Server()
    for _ in range(2_000):
        server.add("message", bytes(1_000))
    pages = pages_of(server)
    for start in range(0, 2_000, 50):
        await pages.page(encoded(start, 13))
        assert pages._size <= 100_000
        assert pages._size == sum(run.size for run in pages._runs)
        assert sorted(run.start for run in pages._runs) == [run.start for run in pages._runs]
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert pages._size == 0 and not pages._runs


async def test_fewer_are_asked_for_where_a_read_has_failed() -> None:
    class Narrow(Memory):
        async def page(self, epoch: str, position: str, n: int) -> Page:
            if n > 5:
                raise BackplaneError("no answer")
            return await super().page(epoch, position, n)

    server = Server()
    server.fill(20)
    memory = Narrow(server)
    pages = Pages(memory, server.epoch, Outage(memory))
    assert await asyncio.wait_for(read_on(pages, 0), 30) == list(range(1, 21))


async def test_a_position_between_two_entries_is_asked_for() -> None:
    """What was read around it says nothing of it: the server may have lost what was there."""

    class Foreign(Memory):
        async def page(self, epoch: str, position: str, n: int) -> Page:
            page = await super().page(epoch, position, n)
            return Page([entry for entry in page.entries if decoded(entry.position) != 10], page.is_last)

    server = Server()
    server.fill(30)
    memory = Foreign(server)
    pages = Pages(memory, server.epoch, Outage(memory))
    for start, reads in ((0, 1), (5, 1), (10, 2), (10, 2), (20, 2)):
        page = await pages.page(encoded(start, 13))
        assert page.entries and len(server.pages) == reads


async def test_large_entries_make_small_pages() -> None:
    server = Server()
    for _ in range(200):
        server.add("message", bytes(100_000))
    pages, at = pages_of(server), 0
    lengths = []
    while at < 200:
        page = await pages.page(encoded(at, 13))
        lengths.append(len(page.entries))
        at += len(page.entries)
    assert max(lengths[1:]) <= 3


async def test_what_was_read_before_is_not_said_to_be_the_last() -> None:
    server = Server()
    server.fill(10)
    pages = pages_of(server)
    assert (await pages.page(encoded(0, 13))).is_last
    server.fill(10)
    cut = await pages.page(encoded(5, 13))
    assert [decoded(entry.position) for entry in cut.entries] == [6, 7, 8, 9, 10] and not cut.is_last
    assert len((await pages.page(encoded(10, 13))).entries) == 10
    assert await pages.page(encoded(20, 13)) == Page([], True)


async def test_a_position_that_is_gone_fails_those_who_stand_there_alone() -> None:
    server = Server()
    server.fill(100)
    server.trimmed = 50
    del server.entries[:50]
    pages = pages_of(server)
    results = await asyncio.gather(*(pages.page(encoded(at, 13)) for at in (49, 49, 50, 101)), return_exceptions=True)
    assert [type(result) for result in results] == [PositionLost, PositionLost, Page, PositionLost]


async def test_trouble_is_waited_for_and_reported() -> None:
    server = Server()
    server.fill(10)
    pages = pages_of(server)
    server.away = BackplaneError("away")
    reading = asyncio.create_task(pages.page(encoded(0, 13)))
    while not server.pages:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert pages._outage.text == "away"
    server.away = None
    assert len((await reading).entries) == 10
    assert pages._outage.since is None


async def test_who_goes_away_while_it_waits_leaves_nothing() -> None:
    server = Server()
    server.fill(10)
    server.away = BackplaneError("away")
    pages = pages_of(server)
    reading = asyncio.create_task(pages.page(encoded(0, 13)))
    while not server.pages:
        await asyncio.sleep(0)
    reading.cancel()
    while pages._reader is not None:
        await asyncio.sleep(0.001)
    assert not pages._waiting and pages._outage.since is None


async def test_close_sends_everybody_away() -> None:
    server = Server()
    server.slow = 60
    pages = pages_of(server)
    reading = asyncio.create_task(pages.page(encoded(0, 13)))
    await asyncio.sleep(0)
    pages.close()
    for page in (reading, pages.page(encoded(0, 13))):
        with pytest.raises(PositionLost):
            await page
