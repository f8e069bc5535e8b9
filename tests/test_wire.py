"""The bytes: every vector through each of the doors, checked with the independent decoder."""

import dataclasses
import datetime
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest
from decoder import Decoder, Event
from load import EncodeVector, ParseVector, encode_vectors, parse_vectors
from support import connect, message, open_stream, permissive

from fastware_sse import _core

ENCODE = encode_vectors()
PARSE = parse_vectors()
PLAIN = [vector for vector in ENCODE if vector.event is not None and not vector.fields]
DECODABLE = [vector for vector in ENCODE if vector.wire is not None]
BAD_NAME = [vector for vector in PLAIN if vector.name.startswith("inject-event")]
GOOD_NAME = [vector for vector in PLAIN if vector not in BAD_NAME]


def name_of(vector: EncodeVector | ParseVector) -> str:
    return vector.name


def is_expected_error(vector: EncodeVector, error: Exception) -> bool:
    return type(error).__name__ in vector.errors


def decode(pieces: Iterable[bytes], last_event_id: str = "") -> tuple[list[Event], Decoder]:
    decoder = Decoder(last_event_id)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events, decoder


def ways_to_arrive(wire: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and in pieces of two."""
    yield [wire]
    for size in (1, 2):
        yield [wire[at : at + size] for at in range(0, len(wire), size)]


# ---- the oracle itself ----


@pytest.mark.parametrize("vector", PARSE, ids=name_of)
def test_decoder_reads_each_stream_however_it_is_cut(vector: ParseVector) -> None:
    for pieces in [*ways_to_arrive(vector.wire), list(vector.pieces())]:
        events, decoder = decode(pieces, vector.initial_last_event_id)
        assert events == vector.events
        assert decoder.last_event_id == vector.final_last_event_id
        assert decoder.retry == vector.retry


# ---- our output ----


@pytest.mark.parametrize("vector", ENCODE, ids=name_of)
def test_wire_function(vector: EncodeVector) -> None:
    try:
        wire = _core.wire(vector.event, vector.data, **vector.fields)
    except Exception as error:
        assert is_expected_error(vector, error), repr(error)
    else:
        assert wire == vector.wire


@pytest.mark.parametrize("vector", DECODABLE, ids=name_of)
def test_a_browser_reads_what_was_meant_however_it_is_cut(vector: EncodeVector) -> None:
    try:
        wire = _core.wire(vector.event, vector.data, **vector.fields).encode()
    except (ValueError, OverflowError) as error:  # the vectors that allow either outcome
        assert is_expected_error(vector, error), repr(error)
        return
    if vector.decoded is None:
        text = vector.data if isinstance(vector.data, str) else msgspec.json.encode(vector.data).decode()
        lines = text.replace("\r\n", "\n").replace("\r", "\n")
        meant: dict[str, Any] = {
            "events": [{"type": str.__str__(vector.event) or "message", "data": lines, "lastEventId": ""}],
            "last_event_id": "",
            "retry": None,
            "comments": [],
        }
    else:
        meant = vector.decoded
    for pieces in ways_to_arrive(wire):
        events, decoder = decode(pieces)
        assert events == [Event(event["type"], event["data"], event["lastEventId"]) for event in meant["events"]]
        assert (decoder.last_event_id, decoder.retry) == (meant["last_event_id"], meant["retry"])
        assert [comment.removeprefix(" ") for comment in decoder.comments] == meant["comments"]
        assert not decoder.unfinished


@pytest.mark.parametrize("vector", PLAIN, ids=name_of)
def test_format_sse(vector: EncodeVector) -> None:
    try:
        wire = permissive()._format_sse(vector.event, vector.data)
    except Exception as error:
        assert is_expected_error(vector, error), repr(error)
    else:
        assert type(wire) is str
        assert wire == vector.wire


@pytest.mark.parametrize("vector", PLAIN, ids=name_of)
async def test_broadcast_to_a_client(vector: EncodeVector) -> None:
    broadcaster = permissive()
    client = await connect(broadcaster)
    try:
        broadcaster.broadcast(vector.event, vector.data)
    except Exception as error:
        assert is_expected_error(vector, error), repr(error)
        expected = []
    else:
        expected = [vector.wire]
    broadcaster.broadcast("after", "it works on")
    broadcaster.close()
    assert await client.end() == [*expected, message("it works on", "after")]
    assert [chunk.encode() for chunk in client.chunks] == [str.encode(chunk) for chunk in client.chunks]


@pytest.mark.parametrize("vector", PLAIN, ids=name_of)
def test_broadcast_to_nobody(vector: EncodeVector) -> None:
    broadcaster = permissive()
    try:
        broadcaster.broadcast(vector.event, vector.data)
    except Exception as error:
        assert is_expected_error(vector, error), repr(error)
        assert broadcaster.stats()["events"] == 0
    else:
        assert vector.wire is not None
        assert broadcaster.stats()["events"] == 1


@pytest.mark.parametrize("vector", PLAIN, ids=name_of)
async def test_initial(vector: EncodeVector) -> None:
    broadcaster = permissive()
    try:
        stream = await open_stream(broadcaster, [(vector.event, vector.data)])
    except Exception as error:
        assert is_expected_error(vector, error), repr(error)
    else:
        assert await anext(stream) == vector.wire
        await stream.aclose()


@pytest.mark.parametrize("vector", BAD_NAME, ids=name_of)
def test_register_event_refuses_what_broadcast_refuses(vector: EncodeVector) -> None:
    broadcaster = permissive()
    with pytest.raises(ValueError) as caught:
        broadcaster.register_event(vector.event)
    assert is_expected_error(vector, caught.value)
    assert broadcaster.event_types == frozenset()


@pytest.mark.parametrize("vector", GOOD_NAME, ids=name_of)
def test_register_event_takes_what_broadcast_takes(vector: EncodeVector) -> None:
    broadcaster = permissive()
    broadcaster.register_event(vector.event)
    assert broadcaster.event_types == {vector.event}


# ---- JSON is what msgspec writes ----


class Struct(msgspec.Struct):
    name: str
    size: int = 0


@dataclasses.dataclass
class Dataclass:
    name: str
    when: datetime.datetime


@pytest.mark.parametrize(
    "data",
    [
        *(vector.data for vector in PLAIN if vector.wire is not None and not isinstance(vector.data, str)),
        Struct("héllo"),
        Dataclass("x", datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)),
        [Struct("a"), None, True, 1.5, "\N{BELL}\u2028"],
        msgspec.Raw(b'{"ready": "made"}'),
    ],
    ids=lambda data: type(data).__name__,
)
def test_json_is_msgspec_byte_for_byte(data: Any) -> None:
    wire = _core.wire("update", data).encode()
    assert wire == b"event: update\ndata: " + msgspec.json.encode(data) + b"\n\n"


def test_raw_json_that_is_not_text_is_refused() -> None:
    """msgspec.Raw may hold any bytes; a client must only ever see UTF-8."""
    with pytest.raises(UnicodeDecodeError):
        permissive().broadcast("update", msgspec.Raw(b'"\xff"'))


def test_raw_json_cannot_inject_lines() -> None:
    wire = _core.wire("update", msgspec.Raw(b"{\n\r}\nevent: evil"))
    assert wire == "event: update\ndata: {\ndata: \ndata: }\ndata: event: evil\n\n"
