"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    clients: int = 1_000
    many: int = 5_000
    most: int = 10_000
    paced_rounds: int = 3  # of one second for each contestant
    light_rounds: int = 7  # of two seconds for each contestant
    burst_rounds: int = 2
    adapter_rounds: int = 3  # of one second for each contestant
    many_rounds: int = 2  # of two seconds for each contestant
    attached_rounds: int = 9
    lag_rounds: int = 3  # of one second for each contestant
    storms: int = 2
    slow_clients: int = 500  # the stuck ones among them
    slow_seconds: int = 7
    stopped_rounds: int = 3
    exits: int = 3
    load_streams: int = 20_000
    load_events: int = 100_000  # for each stream


FULL = Scale()
TRIAL = Scale(
    100,
    200,
    300,
    paced_rounds=1,
    light_rounds=1,
    burst_rounds=1,
    adapter_rounds=1,
    many_rounds=1,
    attached_rounds=1,
    lag_rounds=1,
    storms=1,
    slow_seconds=2,
    stopped_rounds=1,
    exits=1,
    load_events=10_000,
    slow_clients=100,
)
