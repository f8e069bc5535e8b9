"""A process that broadcasts on a backplane as fast as it is let: python backplane_publisher.py URL EVENTS.

Prints, as JSON, when it began and what processor time it took until all were published.
"""

import json
import sys
import time

from payload import Payloads

from fastware_sse import Broadcaster
from fastware_sse._engine_of import engine_of
from fastware_sse.backplane import BackplaneFull

url, events = sys.argv[1], int(sys.argv[2])
broadcaster = Broadcaster(backplane=engine_of(url).stream(url, "bench", maxlen=500_000))
broadcaster.register_event("update")
payloads = Payloads()


def published() -> None:
    while broadcaster.stats()["backplane"]["queued_events"]:
        time.sleep(0.001)


broadcaster.broadcast("update", payloads.next())  # makes contact
published()
began, used = time.time_ns(), time.process_time()
for _ in range(events):
    data = payloads.next()
    while True:
        try:
            broadcaster.broadcast("update", data)
            break
        except BackplaneFull:
            time.sleep(0.001)
published()
print(json.dumps({"began": began, "cpu": time.process_time() - used}))
