"""A Broadcaster on a backplane in memory: what is broadcast comes back to all, whatever happens to the server."""

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from listening import LIMIT, Listener, listener, records, until
from memory import TOO_LARGE, Memory, Server
from support import permissive, run_python

from fastware_sse import Broadcaster, _background, _outage, _relay
from fastware_sse.backplane import (
    BackplaneError,
    BackplaneFull,
    BackplaneRefused,
    Entry,
    PositionLost,
    decoded,
    encoded,
)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fastware_sse backplane"]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    yield
    for user in _background.users():
        _background.end(user, wait=True)
    assert not threads()


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_relay, "_STEADY", 0.02)
    monkeypatch.setattr(_background, "FLUSH_LIMIT", 60)  # nobody is saved by it


def on(server: Server, *arguments: Any, name: str = "memory", **options: Any) -> Broadcaster:
    return permissive(*arguments, backplane=Memory(server, name), **options)


async def there(function: Callable[[], None], server: Server) -> None:
    """Do something to the server, where nobody else does anything at that time, and let everybody notice."""

    async def change() -> None:
        function()
        await server.wake()

    user = next(iter(_background.users()))
    await asyncio.wrap_future(_background.submit(user, change))


async def test_what_is_broadcast_comes_back_to_all_with_the_ids_of_the_stream() -> None:
    server = Server()
    server.fill(5)
    one, two = on(server), on(server)
    clients = [await listener(one), await listener(one), await listener(two)]
    for number in range(100):
        (one, two)[number % 2].broadcast("message", str(number))
    for client in clients:
        await until(lambda client=client: len(client.texts) == 100)
    orders = [client.got for client in clients]
    assert orders[0] == orders[1] == orders[2]
    assert sorted(map(int, orders[0].texts)) == list(range(100))
    assert [text for text in orders[0].texts if int(text) % 2] == [str(number) for number in range(1, 100, 2)]
    assert [event.last_event_id for event in orders[0].events] == [
        f"{server.epoch}-{encoded(position, 13)}" for position in range(6, 106)
    ]
    for client in clients:
        await client.leave()
    one.close()
    two.close()


async def test_nothing_begins_before_the_first_event_or_stream() -> None:
    server = Server()
    broadcasters = [on(server), on(server)]
    assert not _background.users() and broadcasters[0].stats()["backplane"] == {
        "away_since": None,
        "trouble": None,
        "queued_events": 0,
        "queued_bytes": 0,
        "refused": 0,
        "foreign": 0,
        "epoch": None,
        "position": None,
    }
    broadcasters[0].broadcast("message", "first")
    await until(lambda: server.entries)
    client = await listener(broadcasters[1])
    for broadcaster in broadcasters:
        broadcaster.close()
    await client.exchange.end()
    assert not _background.users()
    unused = on(server)
    unused.close()
    unused.broadcast("message", "to nobody")
    assert len(server.entries) == 1 and not _background.users()


async def test_events_of_one_process_go_in_batches_in_the_order_of_the_calls() -> None:
    server = Server()
    broadcaster = on(server)
    client = await listener(broadcaster)
    for number in range(3_000):
        broadcaster.broadcast("message", str(number))
    await client.has(*range(3_000))
    assert [counter for batch in server.batches for counter in batch] == list(range(1, 3_001))
    assert len(server.batches) < 300
    await client.leave()
    broadcaster.close()


async def test_a_batch_that_was_added_without_an_answer_is_not_added_twice() -> None:
    server = Server()
    server.forgets_to_answer = 3
    broadcaster = on(server)
    client = await listener(broadcaster)
    for number in range(10):
        broadcaster.broadcast("message", str(number))
    await client.has(*range(10))
    await until(lambda: broadcaster.stats()["backplane"]["queued_events"] == 0)
    await client.has(*range(10))
    await client.leave()
    broadcaster.close()


async def test_an_outage_is_told_once_at_its_start_and_once_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastware_sse")
    server = Server()
    broadcaster = on(server)
    client = await listener(broadcaster)
    before = time.time()
    await there(lambda: setattr(server, "away", BackplaneError("no route")), server)
    await until(lambda: broadcaster.stats()["backplane"]["away_since"] is not None)
    state = broadcaster.stats()["backplane"]
    assert before <= state["away_since"] <= time.time() and state["trouble"] == "no route"
    for number in range(10):
        broadcaster.broadcast("message", str(number))
    await asyncio.sleep(0.3)  # some attempts
    assert broadcaster.stats()["backplane"]["queued_events"] == 10
    assert records(caplog) == ["memory: reading failed, and is tried again until it works: no route"]
    # What an operator must mend is told, if it is found out later.
    server.away = BackplaneRefused("wrong password")
    await until(lambda: len(records(caplog)) == 2)
    await asyncio.sleep(0.3)
    assert records(caplog)[1:] == ["memory: wrong password"]
    server.away = None
    await client.has(*range(10))
    await until(lambda: broadcaster.stats()["backplane"]["away_since"] is None)
    assert records(caplog)[2].startswith("memory: works again after ") and len(records(caplog)) == 3
    assert client.got.gaps == [] and client.exchange.status == 200
    await client.leave()
    broadcaster.close()


async def test_publishing_alone_may_fail_while_reading_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastware_sse")
    server = Server()
    broadcaster, other = on(server), on(server, name="other")
    client = await listener(broadcaster)
    server.refuses = BackplaneRefused("out of memory")
    broadcaster.broadcast("message", "kept")
    await until(lambda: broadcaster.stats()["backplane"]["trouble"] == "out of memory")
    await there(lambda: server.add("message", b"of somebody else"), server)
    await client.has("of somebody else")
    assert broadcaster.stats()["backplane"]["away_since"] is not None
    server.refuses = None
    await client.has("of somebody else", "kept")
    await until(lambda: broadcaster.stats()["backplane"]["away_since"] is None)
    assert len(records(caplog)) == 2
    await client.leave()
    broadcaster.close()
    other.close()


async def test_a_stream_that_is_there_but_not_for_who_publishes_is_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastware_sse")
    server = Server()
    broadcaster = on(server)
    client = await listener(broadcaster)
    server.refuses = PositionLost("no stream takes this")
    broadcaster.broadcast("message", "kept")
    await until(lambda: broadcaster.stats()["backplane"]["trouble"] == "no stream takes this")
    await there(lambda: server.add("message", b"of somebody else"), server)
    await client.has("of somebody else")
    server.refuses = None
    await client.has("of somebody else", "kept")
    await until(lambda: broadcaster.stats()["backplane"]["away_since"] is None)
    assert len(records(caplog)) == 2
    await client.leave()
    broadcaster.close()


async def test_what_no_engine_should_raise_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    broadcaster = on(server)
    client = await listener(broadcaster)
    await there(lambda: setattr(server, "away", ZeroDivisionError("oh")), server)
    await until(lambda: caplog.records)
    assert caplog.records[0].exc_info is not None
    server.away = None
    broadcaster.broadcast("message", "on")
    await client.has("on")
    await client.leave()
    broadcaster.close()


async def test_a_full_buffer_refuses_and_keeps_the_order() -> None:
    server = Server()
    server.away = BackplaneError("away")
    broadcaster = on(server, backplane_buffer=(100, 1_000_000))
    assert issubclass(BackplaneFull, RuntimeError)
    for number in range(100):
        broadcaster.broadcast("message", str(number))
    for _ in range(3):
        with pytest.raises(BackplaneFull):
            broadcaster.broadcast("message", "too much")
    client = Listener(broadcaster)
    await until(lambda: len(client.exchange.messages) > 1)
    assert broadcaster.stats()["backplane"]["queued_events"] == 100
    server.away = None
    await client.has(*range(100))
    broadcaster.broadcast("message", "100")
    await client.has(*range(101))
    await client.leave()
    broadcaster.close()


async def test_a_buffer_is_full_of_bytes_too() -> None:
    server = Server()
    server.away = BackplaneError("away")
    broadcaster = on(server, backplane_buffer=(1_000_000, 10_000))
    with pytest.raises(BackplaneFull):
        for _ in range(100):
            broadcaster.broadcast("message", "x" * 1_000)
    assert 9_000 <= broadcaster.stats()["backplane"]["queued_bytes"] <= 10_000
    server.away = None
    broadcaster.close()


@pytest.mark.parametrize("reason", ["epoch", "evicted", "future"])
async def test_a_reported_gap_and_then_on(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.fill(20)
    first = server.epoch
    broadcaster = on(server)
    client = await listener(broadcaster)
    broadcaster.broadcast("message", "before")
    await client.has("before")

    def happen() -> None:
        server.away = BackplaneError("away")
        if reason == "epoch":
            server.delete()
        elif reason == "evicted":
            server.fill(10)
            server.trim()
        else:
            server.lose(5)

    await there(happen, server)
    await until(lambda: broadcaster.stats()["backplane"]["away_since"] is not None)
    server.away = None
    await until(lambda: client.got.gaps)
    assert f'"reason":"{reason}"' in client.got.gaps[0]
    epoch = server.epoch
    assert (epoch == first) == (reason == "evicted")  # positions that were lost are given out again
    assert broadcaster.stats()["backplane"]["epoch"] == epoch
    broadcaster.broadcast("message", "after")
    seen = await client.has("before", "after")
    assert len(seen.gaps) == 1
    assert seen.last_id == f"{epoch}-{encoded(server.last, 13)}"
    assert any("clients are told of a gap" in text for text in records(caplog, logging.WARNING))
    await client.leave()
    broadcaster.close()


async def test_what_was_trimmed_away_after_it_was_read_is_no_gap() -> None:
    server = Server()
    broadcaster = on(server)
    client = await listener(broadcaster)
    for number in range(20):
        broadcaster.broadcast("message", str(number))
    await client.has(*range(20))

    def happen() -> None:
        server.away = BackplaneError("away")
        server.trimmed = 10
        del server.entries[:10]

    await there(happen, server)
    await until(lambda: broadcaster.stats()["backplane"]["away_since"] is not None)
    server.away = None
    broadcaster.broadcast("message", "20")
    assert (await client.has(*range(21))).gaps == []
    await client.leave()
    broadcaster.close()


async def test_the_second_outage_is_met_as_fresh_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outage, "_LONGEST", 60)
    server = Server()
    broadcaster = on(server)
    client = await listener(broadcaster)
    for number in range(12):
        await there(lambda: setattr(server, "away", BackplaneError("away")), server)
        await until(lambda: broadcaster.stats()["backplane"]["away_since"] is not None)
        server.away = None
        broadcaster.broadcast("message", str(number))
        await client.has(*range(number + 1))
    await client.leave()
    broadcaster.close()


async def test_who_comes_with_an_id_before_the_first_contact_waits_for_it() -> None:
    server = Server()
    server.fill(10)
    server.away = BackplaneError("away")
    broadcaster = on(server)
    client = Listener(broadcaster, f"{server.epoch}-{encoded(4, 13)}")
    stranger = Listener(broadcaster, f"{'z' * 13}-{encoded(4, 13)}")
    await until(lambda: broadcaster.stats()["backplane"]["away_since"] is not None)
    await asyncio.sleep(0.2)
    assert client.got.events == stranger.got.events == []
    server.away = None
    await client.has(*range(4, 10))
    await until(lambda: stranger.got.gaps)
    assert client.got.gaps == []
    for each in (client, stranger):
        await each.leave()
    broadcaster.close()


async def test_a_stream_that_was_deleted_is_found_out_by_who_publishes(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    broadcaster = on(server)
    client = await listener(broadcaster)
    epoch = server.epoch
    server.delete()  # and nobody wakes those who read
    broadcaster.broadcast("message", "into a new stream")
    seen = await client.has("into a new stream")
    assert len(seen.gaps) == 1 and server.epoch != epoch
    assert records(caplog) == [
        "memory: the stream was deleted, made anew, or has lost its end; clients are told of a gap"
    ]
    await client.leave()
    broadcaster.close()


async def test_what_the_server_never_takes_is_dropped_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.away = BackplaneError("away")
    broadcaster = on(server)
    client = Listener(broadcaster)
    await until(lambda: broadcaster.client_count)
    for text in ("0", "1", "x" * (TOO_LARGE + 1), "2", "y" * (TOO_LARGE + 1), "3"):
        broadcaster.broadcast("message", text)
    server.away = None  # so all of them are in one batch
    await client.has(0, 1, 2, 3)
    await until(lambda: broadcaster.stats()["backplane"]["queued_events"] == 0)
    assert broadcaster.stats()["backplane"]["refused"] == 2
    assert len(records(caplog, logging.ERROR)) == 2
    await client.leave()
    broadcaster.close()


async def test_a_poisoned_entry_is_refused_and_counted() -> None:
    server = Server()
    broadcaster = on(server)
    client = await listener(broadcaster)

    def poison() -> None:
        for name in ("two\rlines", "two\nlines", "a\0b"):
            server.add(name, b"x")
        server.add("message", b"\xff\xfe")
        server.add("message", b"good")

    await there(poison, server)
    await client.has("good")
    assert broadcaster.stats()["backplane"]["refused"] == 4
    await client.leave()
    broadcaster.close()


async def test_a_stream_of_a_strict_broadcaster_takes_what_another_version_has_published() -> None:
    server = Server()
    broadcaster = Broadcaster(backplane=Memory(server))
    client = await listener(broadcaster)
    with pytest.raises(ValueError, match="unregistered"):
        broadcaster.broadcast("message", "x")
    await there(lambda: server.add("message", b"of a newer version"), server)
    await client.has("of a newer version")
    await client.leave()
    broadcaster.close()


async def test_close_publishes_what_is_left() -> None:
    server = Server()
    broadcaster = on(server)
    for number in range(2_000):
        broadcaster.broadcast("message", str(number))
    broadcaster.close()
    assert server.last == 2_000
    broadcaster.broadcast("message", "to nobody")
    with pytest.raises(TypeError):
        broadcaster.broadcast("message", object())
    broadcaster.close()
    assert server.last == 2_000


async def test_one_that_cannot_begin_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    server = Server()
    broadcaster = on(server)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            broadcaster.broadcast("message", "to nobody")
    broadcaster.broadcast("message", "to all")
    broadcaster.close()
    assert [entry.data for entry in server.entries] == [b"to all"]


@pytest.mark.parametrize("when", ["before", "behind"])
async def test_close_while_the_first_event_comes(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """From another thread, or a signal handler: around the moment in which it enters."""
    server = Server()
    broadcaster = on(server)
    engine = broadcaster._backplane.backplane
    enter = _background.enter

    def interrupted(user: _background.User) -> asyncio.AbstractEventLoop:
        if when == "before":
            broadcaster.close()
        loop = enter(user)
        if when == "behind":
            broadcaster.close()
        return loop

    with monkeypatch.context() as patch:
        patch.setattr(_background, "enter", interrupted)
        with pytest.raises(RuntimeError, match="closed"):
            broadcaster.broadcast("message", "to nobody")
    await until(lambda: not threads())
    assert server.last == 0 and engine.closed == 1


async def test_a_reader_that_swallows_a_cancellation_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy(Memory):
        async def tail(self, epoch: str, position: str) -> AsyncIterator[list[Entry]]:
            for _ in range(2):
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(LIMIT)
            yield []

    monkeypatch.setattr(_background, "_AGAIN", 0.01)
    server = Server()
    other = on(server)
    other.broadcast("message", "0")  # the thread goes on
    broadcaster = permissive(backplane=Greedy(server))
    broadcaster.broadcast("message", "1")
    loop = broadcaster._backplane._loop
    await until(lambda: server.last == 2)
    broadcaster.close()
    readers = [task for task in asyncio.all_tasks(loop) if "Relay._read" in repr(task)]
    assert len(readers) == 1, "the other one's"
    other.close()


async def test_a_reader_that_swallows_that_the_stream_was_lost_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy(Memory):
        async def tail(self, epoch: str, position: str) -> AsyncIterator[list[Entry]]:
            try:
                await asyncio.sleep(LIMIT)
            except asyncio.CancelledError:
                swallowed.append(None)
            await asyncio.sleep(LIMIT)
            yield []

    monkeypatch.setattr(_relay, "_LOST_LIMIT", 0.05)
    swallowed: list[None] = []
    server = Server()
    broadcaster = permissive(backplane=Greedy(server))
    broadcaster.broadcast("message", "0")
    await until(lambda: server.last == 1)
    server.refuses = PositionLost("for a moment")
    broadcaster.broadcast("message", "1")
    await until(lambda: bool(swallowed))
    await until(lambda: broadcaster.stats()["backplane"]["away_since"] is not None)
    server.refuses = None
    await until(lambda: server.last == 2)
    broadcaster.close()


async def test_close_says_how_many_events_are_lost(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_background, "FLUSH_LIMIT", 0.1)
    server = Server()
    server.away = BackplaneError("away")
    broadcaster = on(server)
    for number in range(7):
        broadcaster.broadcast("message", str(number))
    broadcaster.close()
    assert records(caplog, logging.ERROR) == [
        "memory: 7 events that were broadcast could not be published, and are lost"
    ]


async def test_close_says_what_is_lost_where_the_thread_itself_is_held_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_background, "_END_LIMIT", 0.1)
    server = Server()
    broadcaster = on(server)
    broadcaster.broadcast("message", "first")
    await until(lambda: server.last == 1)
    held, may_go_on = threading.Event(), threading.Event()
    broadcaster._backplane._loop.call_soon_threadsafe(lambda: held.set() or may_go_on.wait(LIMIT))
    assert held.wait(LIMIT)
    broadcaster.broadcast("message", "second")
    broadcaster.close()
    may_go_on.set()
    assert records(caplog, logging.ERROR) == [
        "memory: 1 events that were broadcast could not be published, and are lost"
    ]
    await until(lambda: not threads())
    assert server.last == 1


async def test_one_that_is_collected_publishes_what_is_left_and_goes() -> None:
    server = Server()
    broadcaster = on(server)
    engine = broadcaster._backplane.backplane
    broadcaster.broadcast("message", "last words")
    del broadcaster
    gc.collect()
    await until(lambda: not threads())  # nobody waits for it, unlike in close()
    assert server.last == 1 and engine.closed == 1


async def test_one_that_is_initialised_again_leaves_its_first_stream() -> None:
    first, second = Server(), Server()
    broadcaster = on(first)
    broadcaster.broadcast("message", "to the first")
    broadcaster.__init__(strict=False, backplane=Memory(second))
    assert first.last == 1 and not _background.users()
    broadcaster.broadcast("message", "to the second")
    await until(lambda: second.last == 1)
    broadcaster.close()
    assert first.last == 1


async def test_one_engine_of_two_broadcasters_is_left_with_the_second() -> None:
    server = Server()
    engine = Memory(server)
    one, two = permissive(backplane=engine), permissive(backplane=engine)
    clients = [await listener(one), await listener(two)]
    one.broadcast("message", "0")
    for client in clients:
        await client.has(0)
    one.close()
    assert engine.closed == 0
    two.broadcast("message", "1")
    await clients[1].has(0, 1)
    two.close()
    assert engine.closed == 1


async def test_a_client_on_each_of_several_loops() -> None:
    server = Server()
    broadcaster = on(server)
    ready = threading.Barrier(4, timeout=LIMIT)
    seen: list[list[str]] = []

    async def serve() -> None:
        client = await listener(broadcaster)
        await asyncio.to_thread(ready.wait)
        await client.has(*range(300))
        seen.append(client.texts)
        await client.leave()

    threads = [threading.Thread(target=asyncio.run, args=(serve(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    await asyncio.to_thread(ready.wait)
    for number in range(300):
        broadcaster.broadcast("message", str(number))
    for thread in threads:
        await asyncio.to_thread(thread.join, LIMIT)
    assert len(seen) == 3
    broadcaster.close()


async def test_a_large_batch_prunes_nobody_who_reads() -> None:
    server = Server()
    broadcaster = on(server, 16)
    clients = [await listener(broadcaster) for _ in range(20)]
    await there(lambda: server.fill(5_000), server)
    for client in clients:
        await client.has(*range(5_000))
    assert broadcaster.stats()["pruned_by_events"] == 0 if "pruned_by_events" in broadcaster.stats() else True
    assert broadcaster.client_count == 20
    for client in clients:
        await client.leave()
    broadcaster.close()


async def test_page_reads_what_lies_far_back_and_waits_for_the_server() -> None:
    server = Server()
    server.fill(1_000)
    broadcaster = on(server)
    client = await listener(broadcaster)
    relay = broadcaster._backplane
    page = await relay.page(server.epoch, encoded(0, 13))
    assert decoded(page.entries[0].position) == 1 and not page.is_last
    with pytest.raises(PositionLost):
        await relay.page("z" * 13, encoded(0, 13))
    await there(lambda: setattr(server, "away", BackplaneError("away")), server)
    await until(lambda: broadcaster.stats()["backplane"]["away_since"] is not None)
    late = asyncio.create_task(relay.page(server.epoch, encoded(990, 13)))
    await asyncio.sleep(0.1)
    assert not late.done()
    server.away = None
    assert decoded((await late).entries[0].position) == 991  # so many as are asked for after a failure
    late = asyncio.create_task(relay.page(server.epoch, encoded(2_000, 13)))
    with pytest.raises(PositionLost):
        await late
    await client.leave()
    broadcaster.close()
    with pytest.raises(PositionLost):
        await relay.page(server.epoch, encoded(0, 13))


async def test_who_waits_for_a_page_of_a_stream_that_is_another_by_now_is_sent_away() -> None:
    server = Server()
    server.fill(10)
    broadcaster = on(server)
    client = await listener(broadcaster)
    server.slow = LIMIT  # and whoever reads is stuck
    waiting = asyncio.create_task(broadcaster._backplane.page(server.epoch, encoded(0, 13)))
    await until(lambda: 0 in server.pages)
    server.slow = 0
    server.delete()
    broadcaster.broadcast("message", "into a new stream")
    await client.has("into a new stream")
    with pytest.raises(PositionLost):
        async with asyncio.timeout(LIMIT / 2):
            await waiting
    await client.leave()
    broadcaster.close()


async def test_who_waits_for_a_page_is_sent_away_by_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_background, "FLUSH_LIMIT", 0.1)
    server = Server()
    server.away = BackplaneError("away")
    broadcaster, other = on(server), on(server)
    other._subscribe()
    late = asyncio.create_task(broadcaster._backplane.page(server.epoch, encoded(0, 13)))
    await until(lambda: len(_background.users()) == 2)
    broadcaster.close()
    with pytest.raises(PositionLost):
        await late
    other.close()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"backplane": object()}, TypeError),
        ({"backplane": "redis://localhost"}, TypeError),
        *(
            ({"backplane_buffer": buffer}, TypeError)
            for buffer in (1, None, (1,), (1, 2, 3), (1.0, 2), ("1", 2), [1, 2])
        ),
        *(({"backplane_buffer": buffer}, ValueError) for buffer in ((0, 1), (1, 0), (-1, 1), (10**30, 1))),
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        Broadcaster(**({"backplane": Memory(Server())} | options))


def test_what_a_backplane_cannot_be_combined_with() -> None:
    class OwnGenerator(Broadcaster):
        async def _event_generator(self, queue: Any, initial: Any = None) -> Any:
            yield ""

    class OwnFormat(Broadcaster):
        def _format_sse(self, event: str, data: Any) -> str:
            return ""

    for kind in (OwnGenerator, OwnFormat):
        kind()
        with pytest.raises(TypeError):
            kind(backplane=Memory(Server())).broadcast("message", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_child_of_a_fork_publishes_what_is_its_own() -> None:
    code = """
import os, sys, time
sys.path.insert(0, "tests")
from memory import Memory, Server
from fastware_sse import Broadcaster, _background
from fastware_sse.backplane import BackplaneError

server = Server()
broadcaster = Broadcaster(strict=False, backplane=Memory(server))
broadcaster.broadcast("message", "one")
while not server.entries:
    time.sleep(0.001)
server.away = BackplaneError("away")
broadcaster.broadcast("message", "two")
publishers = set(server.published)
closed = Broadcaster(strict=False, backplane=Memory(server))
closed.close()
child = os.fork()
if child == 0:
    server.in_child()
    server.away = None
    assert broadcaster.stats()["backplane"]["queued_events"] == 0
    closed._subscribe()
    assert not _background.users()  # it stays closed
    broadcaster.broadcast("message", "three")
    broadcaster.close()
    assert [entry.data for entry in server.entries] == [b"one", b"three"]
    assert len(server.published) == 2
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
server.away = None
broadcaster.close()
assert [entry.data for entry in server.entries] == [b"one", b"two"]
assert set(server.published) == publishers
"""
    done = run_python(code, PYTHONWARNINGS="ignore", ok=False)
    lines = [line for line in done.stderr.splitlines() if "memory" not in line]
    assert (done.returncode, lines) == (0, []), done.stderr


@pytest.mark.parametrize(
    "end",
    [
        "",
        "del broadcaster",
        "threading.Thread(target=broadcaster.close, daemon=True).start()",
        "threading.Thread(target=broadcaster.close).start(); broadcaster.close(); print(len(server.entries))",
    ],
)
def test_what_was_broadcast_is_published_before_the_interpreter_ends(end: str) -> None:
    code = f"""
import atexit, sys, threading
sys.path.insert(0, "tests")
from memory import Memory, Server
from fastware_sse import Broadcaster

server = Server()
atexit.register(lambda: print(len(server.entries)))
broadcaster = Broadcaster(strict=False, backplane=Memory(server))
for number in range(1000):
    broadcaster.broadcast("message", str(number))
{end}
"""
    assert set(run_python(code).stdout.split()) == {"1000"}
