"""Publishing from outside of a Broadcaster: one event, from a thread that waits for it."""

from __future__ import annotations

import asyncio
import secrets
import threading

from . import _core
from ._lookup import Loop
from .backplane import Backplane, Item


def publish(engine: Backplane, event: str, data: object) -> None:
    """Add one event to the engine's stream. Raises BackplaneError, and what broadcast() raises for a wrong event."""
    item = _item(engine, event, data)
    faults: list[BaseException] = []

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=Loop) as runner:
                runner.run(_publish(engine, item))
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
        await engine.publish(secrets.token_hex(8), [item])
    finally:
        await engine.close()


def _item(engine: Backplane, event: str, data: object) -> Item:
    """What broadcast() would leave to a backplane."""
    outbox = _core.Outbox(1, 1, lambda: None)
    broadcaster = _core.Broadcaster(strict=False, position_digits=engine.digits)
    broadcaster._attach_outbox(outbox)
    broadcaster.broadcast(event, data)
    return Item._make(*outbox.take(1, 1))
