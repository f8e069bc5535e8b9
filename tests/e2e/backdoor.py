"""What a test does to a stream behind the engine's back."""

import os
from typing import Any

import nats
import redis.asyncio
from engines import Engine

from fastware_sse._nats_publisher import OURS
from fastware_sse.nats import JetStream
from fastware_sse.nats import publish as publish_to_nats
from fastware_sse.redis import RedisStream
from fastware_sse.redis import publish as publish_to_redis


class Redis:
    """Of Redis."""

    publish = staticmethod(publish_to_redis)

    def __init__(self, server: Engine) -> None:
        self.server = server
        self._client = redis.asyncio.Redis.from_url(server.url)

    def stream(self, name: str = "news", **options: Any) -> RedisStream:
        return RedisStream(self.server.url, name, **options)

    async def delete(self, name: str = "news") -> None:
        await self._client.delete(name)

    async def trim(self, keep: int, name: str = "news") -> None:
        await self._client.xtrim(name, maxlen=keep, approximate=False)

    async def add_foreign(self, name: str = "news") -> None:
        await self._client.xadd(name, {"hello": "world"})
        await self._client.xadd(name, {"event": b"\xff", "data": "not UTF-8", "from": "nobody 1 0-0"})

    async def poison(self, name: str = "news") -> None:
        """What broadcast() refuses, in our own form: three entries."""
        for event, data in ((b"two\rlines", b"x"), (b"a\0b", b"x"), (b"message", b"\xff\xfe")):
            await self._client.xadd(name, {"event": event, "data": data, "from": "nobody 1 0-0"})

    async def connections(self) -> int:
        return len(await self._client.client_list()) - 1

    async def close(self) -> None:
        await self._client.aclose()


class Nats:
    """Of NATS."""

    publish = staticmethod(publish_to_nats)

    def __init__(self, server: Engine) -> None:
        self.server = server
        self._client: Any = None

    def stream(self, name: str = "news", **options: Any) -> JetStream:
        return JetStream(self.server.url, name, **options)

    async def _stream(self) -> Any:
        if self._client is None or not self._client.is_connected:
            self._client = await nats.connect(self.server.url, allow_reconnect=False)
        return self._client.jetstream()

    async def delete(self, name: str = "news") -> None:
        await (await self._stream()).delete_stream(name)

    async def trim(self, keep: int, name: str = "news") -> None:
        await (await self._stream()).purge_stream(name, keep=keep)

    async def add_foreign(self, name: str = "news") -> None:
        stream = await self._stream()
        await stream.publish(name, b"hello\nworld")
        await stream.publish(name, b"\xff\nnot UTF-8", headers={"Nats-Msg-Id": f"fastware-sse.{os.urandom(4).hex()}.1"})

    async def poison(self, name: str = "news") -> None:
        """What broadcast() refuses, in our own form: three entries."""
        stream = await self._stream()
        for number, text in enumerate((b"two\rlines\nx", b"a\0b\nx", b"message\n\xff\xfe")):
            message_id = f"{OURS}{os.urandom(4).hex()}.{number}"
            await stream.publish(name, text, headers={"Nats-Msg-Id": message_id})

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


Backdoor = Redis | Nats
