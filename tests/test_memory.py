"""Failing allocations: each one in turn raises MemoryError, and the event of that call, and no other, is lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support import joined, message, open_stream, permissive, turns

from fastware_sse import Broadcaster, _core

pytestmark = pytest.mark.skipif(
    not hasattr(_core, "_alloc_fail_after"), reason="a release build cannot be told to fail"
)


@contextmanager
def failing_after(successes: int) -> Iterator[None]:
    """One allocation of the core fails, after so many."""
    _core._alloc_fail_after(successes)
    try:
        yield
    finally:
        _core._alloc_fail_after(-1)


def fails(call: Callable[[], Any]) -> bool:
    try:
        call()
    except MemoryError:
        return True
    return False


def test_making_a_broadcaster() -> None:
    before = _core._alloc_live()
    for successes in range(10):
        with failing_after(successes):
            failed = fails(Broadcaster)
        assert _core._alloc_live() == before
        if not failed:
            assert successes > 1, "it does allocate"
            return
    raise AssertionError("no end of it")


async def fails_while_readers_come_and_are_pruned(successes: int) -> bool:
    """The log grows twice and prunes twice, with readers at three places; returns whether a call has failed."""
    broadcaster = permissive(40)
    readers = []
    sent: list[str] = []
    failed = False
    with failing_after(successes):
        for number in range(70):
            if number in (0, 10, 30):
                readers.append((joined(broadcaster), len(sent)))
            if fails(lambda number=number: broadcaster.broadcast("message", str(number))):
                failed = True
            else:
                sent.append(message(str(number)))
            broadcaster.stats()  # checks the hub
    for reader, joined_at in readers:
        assert list(reader) == sent[joined_at:][:40]
        reader.close()
    counts = broadcaster.stats()
    assert (counts["connected"], counts["log_events"], counts["events"]) == (0, 0, len(sent))
    await turns()  # the cache of chunks is emptied
    return failed


async def test_broadcasting_while_readers_come_and_are_pruned() -> None:
    before = _core._alloc_live()
    successes = 0
    while await fails_while_readers_come_and_are_pruned(successes):
        assert _core._alloc_live() == before
        successes += 1
    assert successes > 70, "each event is an allocation, and so is each growth and what pruned readers are owed"


async def test_reading_allocates_nothing_that_can_fail() -> None:
    broadcaster = permissive()
    stream = await open_stream(broadcaster, [("hello", "")])
    with failing_after(0):
        await anext(stream)  # joins
        assert broadcaster.client_count == 1
    broadcaster.broadcast("message", "x")
    with failing_after(0):
        assert await anext(stream) == message("x")
        await stream.aclose()
        assert broadcaster.client_count == 0
        broadcaster.close()


# ---- Python's own allocations ----

# Those that are C from the first to the last: CPython 3.12 itself does not bear a failure inside a Python function.
CALLS: list[Callable[[Broadcaster], Any]] = [
    lambda _: _core.Broadcaster(3, heartbeat_interval=1.5, retry=(1, 2), history=9, history_bytes=99),
    lambda broadcaster: broadcaster.register_event("h\u00e9llo"),
    lambda broadcaster: broadcaster.broadcast("h\u00e9llo", {"a": "\N{BELL}\n"}),
    lambda broadcaster: broadcaster._format_sse("message", {"a": "\N{BELL}\n"}),
    lambda broadcaster: broadcaster.event_types,
    lambda broadcaster: broadcaster._subscribe(),
    lambda _: _core.wire("message", "x", id="\u00e9", retry=1, comment="y"),
    lambda _: _core.Chunk("h\u00e9llo"),
]


@pytest.mark.parametrize("at", range(len(CALLS)))
def test_each_allocation_of_the_binding(at: int) -> None:
    testcapi = pytest.importorskip("_testcapi", reason="this Python was built without its test modules")
    before = _core._alloc_live()
    for successes in range(25):  # more than any of the calls makes
        broadcaster = permissive()
        testcapi.set_nomemory(successes, successes + 1)
        try:
            CALLS[at](broadcaster)
        except MemoryError:
            pass
        finally:
            testcapi.remove_mem_hooks()
        broadcaster.broadcast("message", "it works on")
        del broadcaster
    assert _core._alloc_live() == before
