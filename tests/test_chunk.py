"""Chunk: a str whose encode() gives ready bytes."""

import copy
import pickle

import pytest
from support import connect, permissive

from fastware_sse._core import Chunk

TEXT = "event: m\ndata: h\u00e9llo \N{BELL}\n\n"
UTF_8 = ["utf-8", "UTF-8", "utf8", "UTF8", "utf_8", "Utf-8", "U8", "u8", "utf", "UTF"]


@pytest.fixture
def chunk() -> Chunk:
    return Chunk(TEXT)


def test_is_a_str(chunk: Chunk) -> None:
    assert isinstance(chunk, str)
    assert chunk == TEXT
    assert hash(chunk) == hash(TEXT)
    assert chunk + "" == TEXT
    assert f"{chunk}" == TEXT
    assert {TEXT: 1}[chunk] == 1


def test_encode_gives_the_same_bytes_each_time(chunk: Chunk) -> None:
    assert chunk.encode() == TEXT.encode()
    assert chunk.encode() is chunk.encode()


@pytest.mark.parametrize("name", UTF_8)
@pytest.mark.parametrize("errors", [None, "strict", "ignore", "surrogatepass", "no such handler"])
def test_encode_takes_any_spelling_of_utf_8(chunk: Chunk, name: str, errors: str | None) -> None:
    ready = chunk.encode()
    if errors is None:
        assert chunk.encode(name) is ready
        assert chunk.encode(encoding=name) is ready
    else:
        assert chunk.encode(name, errors) == ready
        assert chunk.encode(name, errors=errors) == ready
        assert chunk.encode(errors=errors, encoding=name) == ready
        assert chunk.encode(errors=errors) == ready


@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-32", "utf-7", "utf-8-sig", "unicode_escape", "cp65001"])
def test_encode_leaves_every_other_encoding_to_str(chunk: Chunk, name: str) -> None:
    assert chunk.encode(name) == TEXT.encode(name)
    assert chunk.encode(encoding=name) == TEXT.encode(name)


@pytest.mark.parametrize("errors", ["ignore", "replace", "xmlcharrefreplace", "backslashreplace"])
def test_encode_hands_the_error_handler_on(chunk: Chunk, errors: str) -> None:
    assert chunk.encode("ascii", errors) == TEXT.encode("ascii", errors)
    assert chunk.encode("ascii", errors=errors) == TEXT.encode("ascii", errors)
    assert chunk.encode(errors=errors, encoding="latin-1") == TEXT.encode("latin-1", errors)


def test_encode_raises_what_str_raises(chunk: Chunk) -> None:
    with pytest.raises(UnicodeEncodeError):
        chunk.encode("ascii")
    with pytest.raises(LookupError):
        chunk.encode("no-such-encoding")
    with pytest.raises(LookupError):
        chunk.encode("utf8x")
    for arguments, keywords in [((1,), {}), (("utf-8", 1), {}), (("a", "b", "c"), {}), ((), {"nonsense": "utf-8"})]:
        with pytest.raises(TypeError):
            chunk.encode(*arguments, **keywords)
    with pytest.raises(TypeError):
        chunk.encode("utf-8", encoding="utf-8")


def test_a_copy_is_the_same_chunk_again(chunk: Chunk) -> None:
    for twin in (copy.copy(chunk), copy.deepcopy(chunk), pickle.loads(pickle.dumps(chunk))):
        assert type(twin) is Chunk
        assert twin == TEXT
        assert twin.encode() == TEXT.encode()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))  # 0 and 1 know no types made in C
def test_pickles(chunk: Chunk, protocol: int) -> None:
    twin = pickle.loads(pickle.dumps(chunk, protocol))
    assert (twin, twin.encode()) == (TEXT, TEXT.encode())


def test_constructor_takes_one_str_and_nothing_else() -> None:
    for arguments in [(), (b"bytes",), (1,), (None,), ("a", "b")]:
        with pytest.raises(TypeError):
            Chunk(*arguments)
    with pytest.raises(TypeError):
        Chunk(text="a")
    with pytest.raises(UnicodeEncodeError):
        Chunk("\ud800")
    assert Chunk(Chunk("a")).encode() == b"a"


def test_cannot_be_changed_or_subclassed(chunk: Chunk) -> None:
    with pytest.raises(TypeError):
        type("Sub", (Chunk,), {})
    with pytest.raises(TypeError):
        Chunk.encode = str.encode
    with pytest.raises(AttributeError):
        chunk.note = 1


async def test_clients_at_the_same_place_share_chunk_and_bytes() -> None:
    broadcaster = permissive()
    clients = [await connect(broadcaster) for _ in range(3)]
    broadcaster.broadcast("message", {"text": "h\u00e9llo"})
    broadcaster.close()
    first, *others = [(await client.end())[0] for client in clients]
    assert type(first) is Chunk
    for other in others:
        assert other is first
        assert other.encode() is first.encode()
