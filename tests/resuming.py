"""What the tests of resuming share: ids taken apart, and clients that come back with one."""

import random
import re
from typing import Any, NamedTuple

from decoder import Decoder, Event
from exchange import Exchange, connect, until
from support import turns

from fastware_sse import Broadcaster
from fastware_sse.asgi import EventStream

DIGITS = "abcdefghijklmnopqrstuvwxyz234567"
ID = re.compile("[a-z2-7]{13}-[a-z2-7]{13}")
OTHER = "z" * 13 + "-" + "a" * 13  # well-formed, and of another process


class Id(NamedTuple):
    """ "<epoch>-<position>"; the position counts the events up to and including the one that carries the id."""

    epoch: str
    position: int

    def __str__(self) -> str:
        digits = [DIGITS[self.position >> shift & 31] for shift in range(60, -1, -5)]
        return f"{self.epoch}-{''.join(digits)}"

    @classmethod
    def parse(cls, text: str) -> "Id":
        assert ID.fullmatch(text), text
        epoch, digits = text.split("-")
        position = 0
        for digit in digits:
            position = position * 32 + DIGITS.index(digit)
        return cls(epoch, position)

    def at(self, position: int) -> "Id":
        return self._replace(position=position)


class Got(NamedTuple):
    """What a browser makes of the beginning of a stream."""

    events: list[Event]
    last_id: str

    @property
    def texts(self) -> list[str]:
        """The data of what was broadcast."""
        return [event.data for event in self.events if event.type == "message"]

    @property
    def gaps(self) -> list[str]:
        return [event.data for event in self.events if event.type == "gap"]

    @property
    def positions(self) -> list[int]:
        return [Id.parse(event.last_event_id).position for event in self.events if event.type == "message"]


def got(stream: bytes, last_id: str = "") -> Got:
    decoder = Decoder(last_id)
    return Got(decoder.feed(stream), decoder.last_event_id)


def headers_of(last_id: str | bytes | None) -> list[tuple[bytes, bytes]]:
    if last_id is None:
        return []
    return [(b"last-event-id", last_id if isinstance(last_id, bytes) else last_id.encode())]


async def come(broadcaster: Broadcaster, last_id: str | bytes | None = None, **options: Any) -> Exchange:
    """A client that has got what there is for it."""
    exchange = await connect(EventStream(broadcaster, **options), headers=headers_of(last_id), query_string=b"")
    await until(lambda: len(exchange.messages) > 1 or exchange.task.done())
    await turns()
    return exchange


async def seen_by(broadcaster: Broadcaster, last_id: str | bytes | None = None, **options: Any) -> Got:
    """What such a client has got when it leaves."""
    exchange = await come(broadcaster, last_id, **options)
    exchange.leave()
    await exchange.end()
    assert exchange.status == 200
    return got(exchange.text.encode())


async def first_id(broadcaster: Broadcaster) -> Id:
    """That of the place where a newcomer begins."""
    return Id.parse((await seen_by(broadcaster)).last_id)


def publish(broadcaster: Broadcaster, *numbers: int) -> None:
    for number in numbers:
        broadcaster.broadcast("message", str(number))


def hostile_ids(begin: Id) -> list[bytes]:
    chance = random.Random(6)
    good = str(begin.at(1)).encode()
    forms = [
        *(b"x" * size for size in (1, 13, 14, 26, 27, 28, 40, 41, 1_000, 65_536)),
        *(good[:cut] for cut in range(1, len(good))),
        *(good + extra for extra in (b" ", b"\0", b"\r", b"\n", b"\r\ndata: forged", b"-", b"a" * 100, b"\xff")),
        *(extra + good for extra in (b" ", b"\0", b"a", b"-", b"\xef\xbb\xbf")),
        *(b"-1", b"0", b"18446744073709551616", b"-" * 27, b"NaN", b"null", b"' OR 1=1 --", b"%s%n", b"../../etc"),
        *("ÿ\u0100\u20ac\N{BELL}\u202e".encode(), b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", bytes(range(256))),
        *(good.upper(), good.replace(b"-", b"_"), good.replace(b"-", b"--"), good.replace(b"-", b"")),
        good + b", " + good,
    ]
    while len(forms) < 1000:
        mutated = bytearray(chance.choice([good, OTHER.encode(), str(begin.at(2**63)).encode()]))
        for _ in range(chance.randint(1, 4)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        forms.append(bytes(mutated))
    return forms


def judged(begin: Id, last_id: bytes, head: int) -> str | None:
    """The reason, said with other means than the parser's."""
    text = last_id.decode("latin-1")
    epoch, _, digits = text.partition("-")
    wellformed = len(epoch) == 13 and 1 <= len(digits) <= 26 and set(epoch + digits) <= set(DIGITS)
    if not wellformed:
        return "invalid"
    if epoch != begin.epoch:
        return "epoch"
    if len(digits) != 13:
        return "invalid"
    position = 0
    for digit in digits:
        position = position * 32 + DIGITS.index(digit)
    return "future" if position > head else None
