"""An app that sends into the streams of another one."""

import asyncio
import itertools
import random


def foreign(app, low, high):
    """`app`, and numbered comments between what it sends, so many seconds apart, from a task of their own."""

    async def wrapped(scope, receive, send):
        sender = None

        async def send_comments():
            for number in itertools.count():
                await asyncio.sleep(random.uniform(low, high))
                await send({"type": "http.response.body", "body": b": foreign %d\n\n" % number, "more_body": True})

        async def pass_on(message):
            nonlocal sender
            if sender is not None and not message.get("more_body"):
                sender.cancel()
                await asyncio.wait({sender})
            await send(message)
            if sender is None and message["type"] == "http.response.body" and message.get("more_body"):
                sender = asyncio.create_task(send_comments())

        try:
            await app(scope, receive, pass_on)
        finally:
            if sender is not None:
                sender.cancel()

    return wrapped
