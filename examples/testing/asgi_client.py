"""A client of an ASGI app, for tests: it stands in the place of the server, and leaves when it has seen enough."""

import asyncio

PATIENCE = 5  # seconds, after which a test fails


def parse(text):
    """The (event, data) pairs in what has been received."""
    pairs = []
    for block in text.split("\n\n")[:-1]:
        fields = [line.partition(": ")[::2] for line in block.split("\n")]
        data = "\n".join(value for name, value in fields if name == "data")
        pairs += [(value, data) for name, value in fields if name == "event"]
    return pairs


async def has_clients(broadcaster, count):
    """Wait until it has so many."""
    async with asyncio.timeout(PATIENCE):
        while broadcaster.client_count != count:
            await asyncio.sleep(0.001)


class Stream:
    """One GET request, from the head of `async with` to its end, where the client goes away."""

    def __init__(self, app, path="/events", headers=()):
        self.status = None
        self.text = ""
        self.reading = asyncio.Event()  # cleared: the client has stopped reading
        self.reading.set()
        self._app = app
        self._scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": list(headers),
        }
        self._incoming = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self._grown = asyncio.Condition()

    async def __aenter__(self):
        self._task = asyncio.create_task(self._app(self._scope, self._incoming.get, self._send))
        return self

    async def __aexit__(self, *exception):
        self._incoming.put_nowait({"type": "http.disconnect"})
        await self.end()

    async def _send(self, message):
        await self.reading.wait()
        async with self._grown:
            self.status = message.get("status", self.status)
            self.text += message.get("body", b"").decode()
            self._grown.notify_all()

    async def until(self, condition):
        """Wait until condition() holds of what was received."""
        async with asyncio.timeout(PATIENCE), self._grown:
            await self._grown.wait_for(condition)

    async def events(self, count):
        """Wait for so many events; return all that there are."""
        await self.until(lambda: len(parse(self.text)) >= count)
        return parse(self.text)

    async def end(self):
        """Wait for the end of the response; return all events. Raises what the app raised."""
        # Not asyncio.timeout(): it would cancel the app, and a stream that is cancelled ends as if all were well.
        await asyncio.wait({self._task}, timeout=PATIENCE)
        self._task.result()
        return parse(self.text)
