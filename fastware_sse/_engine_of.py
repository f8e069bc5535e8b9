"""Which engine a URL is of; its module is imported here, when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .backplane import Backplane


class Engine(NamedTuple):
    stream: Callable[..., Backplane]
    """From the URL and the stream's name."""
    publish: Callable[..., None]


def engine_of(url: str) -> Engine:
    """Raises ValueError for a URL of nothing that we know, ImportError if the engine's client library is missing."""
    scheme = url.partition(":")[0]
    if scheme in ("redis", "rediss", "unix"):
        from . import redis

        return Engine(redis.RedisStream, redis.publish)
    if scheme in ("nats", "tls", "ws", "wss"):
        from . import nats

        return Engine(nats.JetStream, nats.publish)
    # Without the URL, which may have a password in it.
    raise ValueError(
        "not a URL of Redis or NATS: these begin with redis://, rediss://, unix://, nats://, tls://, ws:// or wss://"
    )
