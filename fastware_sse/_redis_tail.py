"""One blocking XREAD for all the streams of a server that a process follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

BLOCK = 2.0  # seconds after which the server answers that there is nothing

_ENTRIES = 1000  # at most in a read, from each stream
_FIRST = 64  # when nobody knows how large they are
_BYTES = 1 << 20  # about as much, where entries are large
_AGAIN = 0.01  # seconds until a reader that may not have been blocked yet is unblocked again, or cancelled again


class _Follower:
    """Somebody who follows a stream, from behind an entry."""

    def __init__(self, key: bytes, after: bytes) -> None:
        self.key = key
        self.after = after
        self.heard = asyncio.get_running_loop().time()
        self.is_read = asyncio.Event()
        """Set once a read includes it."""
        self.found: asyncio.Queue[list[Any]] = asyncio.Queue(1)
        self.error: Exception | None = None


class Tail:
    """All of it on one event loop. A task reads while somebody follows."""

    def __init__(self, reading: Any, control: Any) -> None:
        """Clients with a connection each: one that blocks, and one to unblock it with."""
        self._reading = reading
        self._control = control
        self._followers: list[_Follower] = []
        self._task: asyncio.Task[None] | None = None
        self._client_id = 0  # of the connection that blocks; 0 while nobody knows
        self._count = _FIRST  # entries to ask for, of each stream

    async def follow(self, key: bytes, after: bytes) -> AsyncGenerator[list[Any], None]:
        """The entries behind that id as redis-py returns them, for ever; an empty list if there were none for BLOCK.

        An error of the connection ends all who follow.
        """
        follower = _Follower(key, after)
        self._followers.append(follower)
        if self._task is None:
            self._task = asyncio.create_task(self._read())
        try:
            await self._join(follower)
            while follower.error is None or not follower.found.empty():
                if found := await follower.found.get():
                    follower.heard = asyncio.get_running_loop().time()
                if follower.error is None or found:
                    yield found
            raise follower.error
        finally:
            self._leave(follower)

    async def _join(self, follower: _Follower) -> None:
        """A read that has begun does not know of the newcomer: it is cut short."""
        while not follower.is_read.is_set() and follower.error is None:
            if self._client_id:
                await self._control.execute_command("CLIENT", "UNBLOCK", self._client_id)
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN):  # not wait_for(): see close()
                    await follower.is_read.wait()

    def _leave(self, follower: _Follower) -> None:
        if follower in self._followers:
            self._followers.remove(follower)
        while not follower.found.empty():
            follower.found.get_nowait()  # the task may be waiting for room
        if not self._followers and self._task is not None:
            self._task.cancel()
            self._ended()

    async def close(self) -> None:
        """End all who follow. The connection is not in use any more when it returns."""
        task = self._task
        for follower in self._followers:
            _fail(follower, ConnectionError("the connection was given up"))
        self._followers.clear()
        self._ended()
        while task is not None and not task.done():  # redis-py may swallow a cancellation, by Python 3.11's wait_for()
            task.cancel()
            await asyncio.wait([task], timeout=_AGAIN)

    def _ended(self) -> None:
        self._task = None
        self._client_id = 0

    async def _read(self) -> None:
        task = self._task
        try:
            self._client_id = await self._reading.execute_command("CLIENT", "ID")
            while self._task is task:
                await self._read_once()
        except Exception as error:
            if self._task is not task:
                return
            self._count = max(1, self._count // 2)  # so many may be too much for the time there is
            self._ended()
            followers, self._followers = self._followers, []
            for follower in followers:
                _fail(follower, error)

    async def _read_once(self) -> None:
        followers = list(self._followers)
        behind: dict[bytes, bytes] = {}
        for follower in followers:
            follower.is_read.set()
            behind[follower.key] = min(behind.get(follower.key, follower.after), follower.after, key=_order)
        block = int(BLOCK * 1000)
        answer = await self._reading.execute_command(
            "XREAD", "COUNT", self._count, "BLOCK", block, "STREAMS", *behind, *behind.values()
        )
        entries_read = size = 0
        for key, entries in answer or ():
            entries_read += len(entries)
            size += sum(len(part) for _, fields in entries for part in fields)
            for follower in followers:
                if follower.key == key:
                    await _hand(follower, entries, behind[key])
        silent_since = asyncio.get_running_loop().time() - BLOCK
        for follower in followers:
            if follower.heard <= silent_since and follower.found.empty():
                follower.heard = silent_since + BLOCK
                follower.found.put_nowait([])
        if entries_read:
            self._count = max(1, min(_ENTRIES, self._count * 2, _BYTES * entries_read // max(size, 1)))


def _fail(follower: _Follower, error: Exception) -> None:
    follower.error = error
    if follower.found.empty():
        follower.found.put_nowait([])


async def _hand(follower: _Follower, entries: list[Any], behind: bytes) -> None:
    """Those of the entries behind `behind` that the follower has not had. Waits until it has taken the last ones."""
    if follower.after != behind:
        place = _order(follower.after)
        entries = [entry for entry in entries if _order(entry[0]) > place]
    if entries:
        follower.after = entries[-1][0]
        await follower.found.put(entries)


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)
