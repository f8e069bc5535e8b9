"""What a Broadcaster must do, as naively as it can be written: a queue for each client, as in the original.

It differs from the original where ours does: the stream of a pruned client ends, and events that wait together may
leave as one chunk.
"""

from collections import deque

MOST_BYTES = 65536


class ModelClient:
    def __init__(self, model: "Model", coalesce: bool, position: int) -> None:
        self.model = model
        self.coalesce = coalesce
        self.position = position  # events in front of the next that it needs
        self.waiting: deque[str] = deque(model.published[position:])
        self.live = self.counted = not model.closed  # still gets what is broadcast
        self.catches_up = bool(self.waiting)
        self.stands = not self.catches_up  # in the log, which keeps what it needs
        self.latest = 0  # where it may still begin

    def read(self) -> str | None:
        """The next chunk; None if there is nothing to read."""
        if self.passed:
            self.model.passed += self.counted
            self.waiting.clear()
            self.live = self.counted = self.catches_up = False
        if not self.waiting:
            return None
        chunk = self._take()
        while self.coalesce and self.waiting and len((chunk + self.waiting[0]).encode()) <= MOST_BYTES:
            chunk += self._take()
        if self.catches_up and self.position == len(self.model.published):
            self.catches_up, self.stands = False, True
        self.model.trim()
        return chunk

    def settle(self) -> None:
        """Before its first read: one that could not resume begins where it would if it joined now."""
        if self.passed and self.model.tail <= self.latest:
            self.position = self.model.tail
            self.waiting = deque(self.model.published[self.position :])
            self.stands = self.position == len(self.model.published)
            self.catches_up = not self.stands
        self.latest = 0

    def _take(self) -> str:
        self.position += 1
        return self.waiting.popleft()

    @property
    def passed(self) -> bool:
        """Whether the history has passed it while it catches up."""
        return self.catches_up and bool(self.waiting) and self.position < self.model.tail

    @property
    def ended(self) -> bool:
        return not self.live and not self.waiting


class ModelQueue:
    """A queue of the caller's own."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: deque[str] = deque()


class Model:
    def __init__(self, limit: int, most_bytes: int = 0, history: int = 0, history_bytes: int = 0) -> None:
        self.limit = limit
        self.most_bytes = most_bytes
        self.history = history
        self.history_bytes = history_bytes
        self.clients: list[ModelClient] = []
        self.queues: list[ModelQueue] = []
        self.published: list[str] = []
        self.starts = [0]  # bytes in front of each of them, and in all
        self.tail = 0  # events that are gone
        self.pruned = 0  # clients, ever
        self.passed = 0  # clients that the history has passed, ever
        self.closed = False

    def join(self, coalesce: bool) -> ModelClient:
        return self._enter(ModelClient(self, coalesce, len(self.published)))

    def resume(self, coalesce: bool, position: int) -> tuple[ModelClient, str]:
        """Behind the first `position` events, or from the oldest; and how."""
        if self.closed:
            return self.join(coalesce), "closed"
        known = self.tail <= position <= len(self.published)
        how = "resumed" if known else "evicted" if position < self.tail else "future"
        client = self._enter(ModelClient(self, coalesce, position if known else self.tail))
        client.latest = 0 if known else len(self.published)
        return client, how

    def _enter(self, client: ModelClient) -> ModelClient:
        self.clients.append(client)
        return client

    def leave(self, client: ModelClient) -> None:
        self.passed += client.passed and client.counted
        self.clients.remove(client)
        self.trim()

    def finish(self, client: ModelClient) -> None:
        client.live = client.counted = False

    def close(self) -> None:
        self.closed = True
        for client in self.clients:
            self.finish(client)
        self.queues.clear()

    def broadcast(self, wire: str) -> int:
        """Returns how many it pruned."""
        if self.closed:
            return 0
        pruned = 0
        for client in self.clients:
            if client.stands and self._is_too_much(client, wire):
                pruned += client.counted
                self.pruned += client.counted
                self.finish(client)
                client.stands = False
            elif client.live:
                client.waiting.append(wire)
        for queue in list(self.queues):
            if 0 < queue.limit <= len(queue.waiting):
                self.queues.remove(queue)
                pruned += 1
            else:
                queue.waiting.append(wire)
        self.published.append(wire)
        self.starts.append(self.starts[-1] + len(wire.encode()))
        self.trim()
        return pruned

    def _is_too_much(self, client: ModelClient, wire: str) -> bool:
        behind = len(self.published) - client.position
        size = self.starts[-1] - self.starts[client.position] + len(wire.encode())
        return 0 < self.limit <= behind or (behind > 0 and 0 < self.most_bytes < size)

    def trim(self) -> None:
        """What neither a client in the log nor the history needs is gone."""
        needed = min((client.position for client in self.clients if client.stands), default=len(self.published))
        while self.tail < needed and self._is_past():
            self.tail += 1

    def _is_past(self) -> bool:
        return self._is_more_than_the_history(self.tail)

    def _is_more_than_the_history(self, first: int) -> bool:
        size = self.starts[-1] - self.starts[first]
        return len(self.published) - first > self.history or 0 < self.history_bytes < size

    @property
    def history_events(self) -> int:
        """What of the log the history would keep for itself."""
        kept = (first for first in range(self.tail, len(self.published)) if not self._is_more_than_the_history(first))
        return len(self.published) - next(kept, len(self.published))

    @property
    def client_count(self) -> int:
        return sum(client.counted for client in self.clients) + len(self.queues)

    @property
    def frames(self) -> int:
        """What is still here; pruned clients hold theirs apart."""
        return len(self.published) - self.tail
