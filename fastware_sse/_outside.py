"""Publishing from outside of a Broadcaster: one event, from a thread that waits for it."""

from __future__ import annotations

import asyncio
import secrets
import threading

import msgspec

from .backplane import Backplane, Item, encoded


def publish(engine: Backplane, event: str, data: object) -> None:
    """Add one event to the engine's stream. Raises BackplaneError, and what broadcast() raises for a wrong event."""
    item = Item(1, _checked(event), _encoded(data))
    faults: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(_publish(engine, item))
        except BaseException as error:
            faults.append(error)

    # A loop may be running on this thread, and there is only one to a thread.
    thread = threading.Thread(target=run, name="fastware_sse publish")
    thread.start()
    thread.join()
    if faults:
        raise faults[0]


async def _publish(engine: Backplane, item: Item) -> None:
    try:
        await engine.open()
        await engine.epoch()  # makes the stream where there is none
        await engine.publish(encoded(secrets.randbits(64), 13), [item])
    finally:
        await engine.close()


def _checked(event: str) -> str:
    if not isinstance(event, str):
        raise TypeError(f"event must be a str, not {type(event).__name__}")
    if any(character in event for character in "\r\n\0"):
        raise ValueError("an event name must not contain CR, LF or NUL")
    event.encode()  # raises UnicodeEncodeError for a lone surrogate
    return event


def _encoded(data: object) -> bytes:
    if isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"data must be a str, or what JSON can hold, not {type(data).__name__}")
    return data.encode() if isinstance(data, str) else msgspec.json.encode(data)
