"""What a Broadcaster must do, as naively as it can be written: a queue for each client, as in the original.

It differs from the original where ours does: the stream of a pruned client ends, and events that wait together may
leave as one chunk.
"""

from collections import deque

MOST_BYTES = 65536


class ModelClient:
    def __init__(self, coalesce: bool) -> None:
        self.coalesce = coalesce
        self.waiting: deque[str] = deque()
        self.live = True  # still gets what is broadcast
        self.counted = True

    def read(self) -> str | None:
        """The next chunk; None if there is nothing to read."""
        if not self.waiting:
            return None
        chunk = self.waiting.popleft()
        while self.coalesce and self.waiting and len((chunk + self.waiting[0]).encode()) <= MOST_BYTES:
            chunk += self.waiting.popleft()
        return chunk

    @property
    def ended(self) -> bool:
        return not self.live and not self.waiting


class ModelQueue:
    """A queue of the caller's own."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: deque[str] = deque()


class Model:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.clients: list[ModelClient] = []
        self.queues: list[ModelQueue] = []
        self.published = 0
        self.closed = False

    def join(self, coalesce: bool) -> ModelClient:
        client = ModelClient(coalesce)
        client.live = client.counted = not self.closed
        self.clients.append(client)
        return client

    def leave(self, client: ModelClient) -> None:
        self.clients.remove(client)

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
        self.published += 1
        pruned = 0
        for client in [client for client in self.clients if client.live]:
            if 0 < self.limit <= len(client.waiting):
                self.finish(client)
                pruned += 1
            else:
                client.waiting.append(wire)
        for queue in list(self.queues):
            if 0 < queue.limit <= len(queue.waiting):
                self.queues.remove(queue)
                pruned += 1
            else:
                queue.waiting.append(wire)
        return pruned

    @property
    def client_count(self) -> int:
        return sum(client.counted for client in self.clients) + len(self.queues)

    @property
    def frames(self) -> int:
        """What the live clients still need; the pruned ones hold theirs apart."""
        return max((len(client.waiting) for client in self.clients if client.live), default=0)
