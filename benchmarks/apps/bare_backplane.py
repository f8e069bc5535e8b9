"""Publishes to a stream and reads it with nothing but the client library: python bare_backplane.py URL EVENTS RATE.

Prints the median of the seconds from one to the other.
"""

import asyncio
import sys
import time
from statistics import median

import nats
import redis.asyncio

URL, EVENTS, RATE = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
delays: list[float] = []
padding = b"x" * 100


def note(data: bytes) -> None:
    delays.append((time.time_ns() - int(data.split()[0])) / 1e9)


async def pace(publish) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    for index in range(EVENTS):
        await asyncio.sleep(start + index / RATE - loop.time())
        await publish(b"%d %b" % (time.time_ns(), padding))


async def through_redis() -> None:
    publisher, reader = (redis.asyncio.Redis.from_url(URL) for _ in range(2))

    async def read() -> None:
        last = b"$"
        while len(delays) < EVENTS:
            for _, entries in await reader.xread({"bare": last}, count=1000, block=5000):
                for _, fields in entries:
                    note(fields[b"data"])
                last, _ = entries[-1]

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.2)
    await pace(lambda data: publisher.xadd("bare", {"data": data}))
    await reading
    await publisher.aclose()
    await reader.aclose()


async def through_nats() -> None:
    client = await nats.connect(URL)
    stream = client.jetstream()
    await stream.add_stream(name="bare", subjects=["bare"])

    async def read(message) -> None:
        note(message.data)

    await stream.subscribe("bare", cb=read, ordered_consumer=True)
    await asyncio.sleep(0.2)
    await pace(lambda data: stream.publish("bare", data))
    while len(delays) < EVENTS:
        await asyncio.sleep(0.01)
    await stream.delete_stream("bare")  # else the next run reads it again
    await client.close()


asyncio.run(through_redis() if URL.startswith("redis") else through_nats())
print(median(delays))
