"""The same random operations on a Broadcaster and on the naive model; the hub checks itself after each."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from model import Model, ModelClient, ModelQueue
from resuming import Id
from support import joined, message, open_stream, permissive, request, turns

from fastware_sse import sse_route
from fastware_sse._core import Subscription

STEPS = 3000
SEEDS = range(5)
LIMITS = [0, 1, 2, 7, 64]
HISTORIES: list[dict[str, int]] = [
    {},
    {"max_buffer_bytes": 4000},
    {"history": 5},
    {"history": 1000, "max_buffer_bytes": 500},
    {"history": 50, "history_bytes": 5000},
]

# Mostly small; now and then one that fills a chunk, nearly or more than fully, and one of many bytes a character.
PAYLOADS = ["", "x", "some text", "y" * 300, "z" * 3000, "\N{BELL}" * 20, "a" * 32_740, "b" * 65_504, "c" * 70_000]
WEIGHTS = [20, 40, 40, 40, 20, 20, 2, 1, 1]


class Both:
    """A Broadcaster and the model, and what they hold in pairs."""

    def __init__(self, seed: int, limit: int, options: dict[str, int]) -> None:
        self.random = random.Random(seed)
        self.ours = permissive(limit, **options)
        sizes = (options.get(name, 0) for name in ("max_buffer_bytes", "history", "history_bytes"))
        self.model = Model(limit, *sizes)
        self.starts: Counter[str] = Counter()
        self.fresh: list[tuple[Subscription, ModelClient]] = []  # have come back, and not been settled
        self.clients: list[tuple[Subscription, ModelClient]] = []
        self.queues: list[tuple[asyncio.Queue[str], ModelQueue]] = []
        self.parked: dict[Subscription, asyncio.Future[None]] = {}
        self.begin: Id | None = None
        if "history" in options:
            newcomer = joined(self.ours)
            self.begin = Id.parse(newcomer.id or "")
            newcomer.close()
            self.starts["live"] += 1

    def join(self) -> None:
        coalesce = self.random.random() < 0.5
        if self.begin is not None and self.random.random() < 0.7:
            self.resume(coalesce, self.begin)
            return
        subscription = joined(self.ours)
        subscription.coalesce = coalesce
        self.clients.append((subscription, self.model.join(coalesce)))
        self.starts[subscription.start or ""] += 1

    def resume(self, coalesce: bool, begin: Id) -> None:
        bounds = self.random.choice([(self.model.tail - 3, self.model.tail + 3), (0, len(self.model.published) + 1)])
        position = max(0, self.random.randint(*bounds))
        client, how = self.model.resume(coalesce, position)
        subscription = self.ours._subscribe()
        subscription.coalesce = coalesce
        subscription.join(asyncio.get_running_loop(), str(begin.at(position)).encode())
        assert subscription.start == how
        self.clients.append((subscription, client))
        self.fresh.append(self.clients[-1])
        self.starts[how] += 1

    def settle(self) -> None:
        """Whoever has come back, before it is read from for the first time."""
        for subscription, client in self.fresh:
            subscription.settle()
            client.settle()
            if self.begin is not None and subscription.start != "closed":
                assert subscription.id == str(self.begin.at(client.position))
        self.fresh.clear()

    def free(self) -> list[tuple[Subscription, ModelClient]]:
        """Clients that do not wait: only these may read."""
        return [pair for pair in self.clients if pair[0] not in self.parked]

    def read(self) -> None:
        """From one client, once or until nothing is left."""
        self.settle()
        if not (free := self.free()):
            return
        subscription, client = self.random.choice(free)
        for _ in range(self.random.choice([1, 1, 3, 1000])):
            expected = client.read()
            assert next(subscription, None) == expected
            if expected is None:
                return

    def read_from_all(self) -> None:
        self.settle()
        for subscription, client in self.free():
            while (expected := client.read()) is not None:
                assert next(subscription) == expected
            assert next(subscription, None) is None

    def leave(self) -> None:
        if not self.clients:
            return
        self.settle()
        pair = self.clients.pop(self.random.randrange(len(self.clients)))
        pair[0].close()
        self.parked.pop(pair[0], None)
        self.model.leave(pair[1])

    def finish(self) -> None:
        if (free := self.free()) and self.random.random() < 0.2:
            subscription, client = self.random.choice(free)
            subscription.finish()
            self.model.finish(client)

    def park(self) -> None:
        if not (free := self.free()):
            return
        subscription, client = self.random.choice(free)
        future = subscription.park()
        assert future is None or future.done() == (client.ended or bool(client.waiting))
        assert future is not None or client.ended
        if future is not None and not future.done():
            self.parked[subscription] = future

    def add_queue(self) -> None:
        limit = self.random.choice([0, 1, 5])
        pair = asyncio.Queue(limit), ModelQueue(limit)
        self.queues.append(pair)
        if not self.model.closed:
            self.ours._clients.append(pair[0])
            self.model.queues.append(pair[1])

    def take_from_queue(self) -> None:
        for queue, twin in self.queues:
            if twin.waiting and self.random.random() < 0.7:
                assert queue.get_nowait() == twin.waiting.popleft()
            assert queue.qsize() == len(twin.waiting)

    def remove_queue(self) -> None:
        if self.queues:
            queue, twin = self.queues.pop(self.random.randrange(len(self.queues)))
            assert (queue in self.ours._clients) == (twin in self.model.queues)
            if twin in self.model.queues:
                self.ours._clients.remove(queue)
                self.model.queues.remove(twin)

    def broadcast(self) -> None:
        payload = self.random.choices(PAYLOADS, WEIGHTS)[0]
        self.ours.broadcast("message", payload)
        wire = message(payload)
        if self.begin is not None:
            wire = wire.replace("\n", f"\nid: {self.begin.at(len(self.model.published) + 1)}\n", 1)
        self.pruned = self.model.broadcast(wire)

    def burst(self) -> None:
        for _ in range(self.random.choice([5, 20, 100])):
            self.broadcast()

    async def turn(self) -> None:
        """Whoever is parked and has something to read, or has come to its end, is woken; nobody else is."""
        await turns(2 + len(self.parked) // 64)
        for subscription, client in self.clients:
            future = self.parked.get(subscription)
            if future is not None:
                assert future.done() == (client.ended or bool(client.waiting))
                if future.done():
                    del self.parked[subscription]

    def check(self) -> None:
        counts = self.ours.stats()
        assert counts["events"] == len(self.model.published)
        assert self.ours.client_count == self.model.client_count
        assert len(self.ours._clients) == len(self.model.queues)
        assert counts["log_events"] == self.model.frames
        assert counts["log_bytes"] == self.model.starts[-1] - self.model.starts[self.model.tail]
        assert counts["history_events"] == self.model.history_events
        begun = {"resumed": counts["resumed"], "evicted": counts["gaps_evicted"], "future": counts["gaps_future"]}
        assert begun == {how: self.starts[how] for how in begun}
        assert counts["total"] == self.starts["live"] + sum(begun.values())
        assert counts["pruned_by_history"] == self.model.passed
        assert counts["pruned"] == self.model.pruned + self.model.passed


OPERATIONS = [
    (Both.broadcast, 30),
    (Both.burst, 1),
    (Both.join, 6),
    (Both.read, 20),
    (Both.read_from_all, 1),
    (Both.park, 12),
    (Both.leave, 4),
    (Both.finish, 1),
    (Both.turn, 6),
    (Both.add_queue, 1),
    (Both.take_from_queue, 4),
    (Both.remove_queue, 1),
]


@pytest.mark.parametrize("options", HISTORIES, ids=str)
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("seed", SEEDS)
async def test_random_operations(
    seed: int, limit: int, options: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "fastware_sse")
    both = Both(seed, limit, options)
    operations, weights = zip(*OPERATIONS, strict=True)
    for operation in both.random.choices(operations, weights, k=STEPS):
        caplog.clear()
        result = operation(both)
        if result is not None:
            await result
        both.check()
        if operation is Both.broadcast:
            said = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
            remain = both.model.client_count
            assert said == ([f"pruned {both.pruned} slow SSE clients ({remain} remain)"] if both.pruned else [])
    both.ours.close()
    both.model.close()
    both.broadcast()
    both.join()
    await both.turn()
    both.check()
    both.read_from_all()
    both.take_from_queue()
    for subscription, client in both.clients:
        assert client.ended
        subscription.close()
        both.model.leave(client)
    both.check()
    assert both.ours.client_count == 0
    if "history" in options:
        assert len(both.starts) >= 4
        assert both.model.passed > 0 or options["history"] == 1000


# ---- the same through the generators ----


class Reader:
    """A stream and at most one step of it that runs."""

    def __init__(self, stream: AsyncGenerator[str, None], client: ModelClient) -> None:
        self.stream = stream
        self.client = client
        self.step: asyncio.Future[str | None] | None = None
        self.over = False

    def start(self) -> None:
        if self.step is None and not self.over:
            self.step = asyncio.ensure_future(anext(self.stream, None))

    def settle(self) -> None:
        """After a turn: a step that runs has ended if there was something to read, or if the stream is over."""
        if self.step is None:
            return
        if not self.client.waiting and not self.client.ended:
            assert not self.step.done()
            return
        assert self.step.done()
        assert self.step.result() == self.client.read()
        self.over = self.step.result() is None
        self.step = None


@pytest.mark.parametrize("route", [False, True], ids=["stream", "sse_route"])
@pytest.mark.parametrize("limit", [1, 4, 0])
@pytest.mark.parametrize("seed", SEEDS)
async def test_random_operations_on_streams(seed: int, limit: int, route: bool) -> None:
    dice = random.Random(seed)
    broadcaster = permissive(limit)
    model = Model(limit)
    readers: list[Reader] = []

    async def new_stream() -> AsyncGenerator[str, None]:
        return (await sse_route(broadcaster)(request())).generator if route else await open_stream(broadcaster)

    async def close(reader: Reader) -> None:
        if reader.step is None:
            await reader.stream.aclose()
        else:
            reader.step.cancel()
            assert await reader.step is None

    for number in range(1500):
        action: Any = dice.choices(["broadcast", "start", "turn", "join", "leave"], [30, 30, 30, 5, 4])[0]
        if action == "broadcast":
            wire = str(number)
            broadcaster.broadcast("message", wire)
            model.broadcast(message(wire))
        elif action == "start" and readers:
            dice.choice(readers).start()
        elif action == "turn":
            await turns()
            for reader in readers:
                reader.settle()
        elif action == "join" and len(readers) < 150:
            await turns()
            for reader in readers:
                reader.settle()
            readers.append(Reader(await new_stream(), model.join(route)))
            readers[-1].start()
            await turns()
        elif action == "leave" and readers:
            await turns()
            for reader in readers:
                reader.settle()
            reader = readers.pop(dice.randrange(len(readers)))
            await close(reader)
            if reader.client in model.clients:
                model.leave(reader.client)
        assert broadcaster.client_count == model.client_count
        broadcaster.stats()
    for reader in readers:
        await turns()
        reader.settle()
        await close(reader)
    counts = broadcaster.stats()
    assert (counts["connected"], counts["log_events"]) == (0, 0)
