"""The load client: its parser on all vectors, and the command against servers that do wrong what can be done wrong."""

import asyncio
import contextlib
import json
import os
import pty
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from decoder import Decoder, Event
from load import ParseVector, parse_vectors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the load client needs epoll")
_load = pytest.importorskip("fastware_sse._load")

VECTORS = parse_vectors()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
PLAIN = HEAD + b"\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


# ---- the parser ----


def events_of(pieces: list[bytes], before: bytes = b"") -> tuple[list[Event], str, int | None]:
    events, last_id, retry, _, _ = _load.parse(pieces, before)
    texts = [[part.decode("utf-8", "replace") for part in event] for event in events]
    return (
        [Event(type_ or "message", data, id_) for type_, data, id_ in texts],
        last_id.decode("utf-8", "replace"),
        retry,
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_parser_on_every_vector_however_it_is_cut(vector: ParseVector) -> None:
    wire, before = vector.wire, vector.initial_last_event_id.encode()
    expected = (vector.events, vector.final_last_event_id, vector.retry)
    if vector.retry is not None and vector.retry >= 2**63:
        expected = (vector.events, vector.final_last_event_id, _load.parse([wire])[2])
        assert expected[2] > 2**62
    for pieces in (
        [wire],
        [wire[at : at + 1] for at in range(len(wire))],
        [wire[at : at + 2] for at in range(0, len(wire), 2)],
        list(vector.pieces()),
    ):
        assert events_of(pieces, before) == expected
    assert _load._alloc_live() == 0


def test_parser_means_what_the_oracle_means() -> None:
    alphabet = [b"data", b"id", b"event", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"x", b"5", b"\0"]
    alphabet += [b"data: a\n\n", b"\xef\xbb\xbf", b"\xe2\x82", b"\xac", b"\xff"]
    chance = random.Random(7)
    for _ in range(3000):
        wire = b"".join(chance.choices(alphabet, k=chance.randrange(1, 25)))
        cuts = sorted(chance.choices(range(len(wire) + 1), k=3))
        pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
        oracle = Decoder()
        expected = [event for piece in pieces for event in oracle.feed(piece)]
        assert events_of(pieces) == (expected, oracle.last_event_id, oracle.retry), pieces


def test_parser_tells_what_browsers_ignore() -> None:
    wire = b"foo: 1\nid: a\0\nretry: 1s\ndata: \xff\xc2\n\ndata: unfinished"
    events, last_id, retry, faults, is_unfinished = _load.parse([wire])
    assert (events, last_id, retry, is_unfinished) == ([(b"", b"\xff\xc2", b"")], b"", None, True)
    assert faults == {"unknown field": 1, "NUL in an id": 1, "retry not a number": 1, "invalid UTF-8": 2}


# ---- servers ----


@contextlib.asynccontextmanager
async def served(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server whose `handler` gets the request head and writes what it likes; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(await reader.readuntil(b"\r\n\r\n"), writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, host, 0, backlog=500)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)


def says(*parts: bytes, then: float = 3600) -> Handler:
    """Write the parts, each in a packet of its own, and stay open."""

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.001)
        await asyncio.sleep(then)

    return handler


def numbered(*numbers: int) -> bytes:
    return b"".join(b'event: e\ndata: {"seq":%d,"text":"x"}\n\n' % number for number in numbers)


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


async def command(*arguments: str, **keywords: Any) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fastware_sse.cli", "load", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **keywords,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def load(port: int, *arguments: str, seconds: float = 0.7, **keywords: Any) -> tuple[int, dict[str, Any]]:
    """Exit code and summary."""
    url = f"http://127.0.0.1:{port}/events?x=1"
    code, out, err = await command(url, "-n", "1", "--seconds", str(seconds), "--json", *arguments, **keywords)
    assert err == ""
    return code, json.loads(out)


def checked(result: dict[str, Any]) -> tuple[int, int, int, int]:
    return result["lost"], result["duplicates"], result["out_of_order"], result["parse_errors"]


async def test_a_healthy_server_is_ok() -> None:
    async with served(says(CHUNKED, chunk(numbered(1)), chunk(numbered(2, 3)), chunk(b": heartbeat\n\n"))) as port:
        code, result = await load(port, "-n", "50")
    assert (code, result["ok"], checked(result)) == (0, True, (0, 0, 0, 0))
    assert (result["streams"], result["opened"], result["open_at_end"], result["connects"]) == (50, 50, 50, 50)
    assert (result["events"], result["numbered"], result["failed_connects"]) == (150, 150, 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_a_torn_answer_is_ok(size: int) -> None:
    wire = CHUNKED + chunk(numbered(1) + numbered(2)[:9]) + chunk(numbered(2)[9:]) + LAST_CHUNK
    async with served(says(*(wire[at : at + size] for at in range(0, len(wire), size)))) as port:
        code, result = await load(port, "--no-reconnect", seconds=20)
    assert (code, result["events"], result["disconnects"], checked(result)) == (0, 2, 1, (0, 0, 0, 0))
    assert result["seconds"] < 15  # nothing was left to do


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1, 2, 3), (0, 0, 0, 0)),
        ((1, 2, 5), (2, 0, 0, 0)),
        ((1, 2, 2, 3), (0, 1, 0, 0)),
        ((1, 3, 2, 4), (0, 0, 1, 0)),
        ((1, 5, 5, 3), (2, 1, 1, 0)),
    ],
)
async def test_loss_duplicates_and_disorder_are_seen(numbers: tuple[int, ...], expected: tuple[int, ...]) -> None:
    async with served(says(CHUNKED, chunk(numbered(*numbers)))) as port:
        code, result = await load(port)
    assert (code, checked(result)) == (0 if expected == (0, 0, 0, 0) else 1, expected)
    assert result["ok"] == (code == 0)


async def test_the_number_may_be_all_of_the_data_or_have_another_name() -> None:
    async with served(says(PLAIN, b"data: 7\n\ndata: 9\n\n")) as port:
        code, result = await load(port)
        assert (code, result["numbered"], result["lost"]) == (1, 2, 1)
    async with served(says(PLAIN, b'data: {"seq":1,"\xc3\xbc":{"seq":5},"n\\"\xc3\xa4":3}\n\n' * 2)) as port:
        code, result = await load(port, "--seq", 'n"ä')
        assert (code, result["numbered"], result["duplicates"]) == (1, 2, 1)
        assert (await load(port, "--seq", "none"))[1]["numbered"] == 0


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"zz\r\n", "chunked coding broken"),
        (b"3\r\ndata: 1\n\n\r\n", "chunked coding broken"),
        (chunk(b"data 1\n\n"), "unknown field"),
        (chunk(b"data: \xff\n\n"), "invalid UTF-8"),
        (chunk(b"data: 1\n") + LAST_CHUNK, "response ended inside an event"),
        (LAST_CHUNK + b"x", "bytes after the end of the response"),
    ],
)
async def test_broken_framing_is_an_error(body: bytes, kind: str) -> None:
    async with served(says(CHUNKED + body)) as port:
        code, result = await load(port, "--no-reconnect")
    assert (code, result["parse_errors"], result["parse_error_kinds"]) == (1, 1, {kind: 1})


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", "status not 200 (500)"),
        (b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", "status not 200 (302)"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}", "not a plain text/event-stream"),
        (HEAD + b"content-encoding: gzip\r\n\r\n", "not a plain text/event-stream"),
        (b"HTTP/1.1 200 OK\r\n", "closed before the answer"),
        (b"", "closed before the answer"),
        (b"SSH-2.0-x\r\n\r\n", "malformed response head"),
    ],
)
async def test_an_answer_that_is_no_stream_is_a_failure(answer: bytes, kind: str) -> None:
    async with served(says(answer, then=0)) as port:
        code, result = await load(port, seconds=20)
    assert (code, result["connects"], result["failed_connects"], result["failures"]) == (1, 0, 1, {kind: 1})
    assert result["seconds"] < 15


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        code, result = await load(taken.getsockname()[1], "-n", "20", seconds=20)
    assert (code, result["failures"]) == (1, {"no connection (Connection refused)": 20})
    assert result["seconds"] < 15


async def test_it_resumes_with_the_last_id_after_the_retry_time() -> None:
    requests: list[tuple[float, bytes]] = []

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        requests.append((time.monotonic(), request))
        number = len(requests)
        writer.write(CHUNKED + chunk(b"retry: 200\nid: i-%d\ndata: %d\n\nid: unfinished\n" % (number, number)))
        await writer.drain()
        if number == 2:
            writer.transport.abort()  # a reset
        elif number == 3:
            await asyncio.sleep(3600)
        # The first one: closed without the last chunk.

    async with served(handler) as port:
        code, result = await load(port, seconds=1.5)
    assert (code, checked(result)) == (0, (0, 0, 0, 0))
    assert (result["connects"], result["disconnects"], result["resumes"], result["events"]) == (3, 2, 2, 3)
    assert b"last-event-id" not in requests[0][1].lower()
    assert [b"\r\nLast-Event-ID: i-%d\r\n" % n in requests[n][1] for n in (1, 2)] == [True, True]
    assert all(0.15 < later - sooner < 1 for (sooner, _), (later, _) in zip(requests, requests[1:], strict=False))


async def test_a_gap_across_a_reconnect_is_a_loss() -> None:
    numbers = [1, 5]

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(PLAIN + b"retry: 10\ndata: %d\n\n" % numbers.pop(0))
        await asyncio.sleep(0.05 if numbers else 3600)

    async with served(handler) as port:
        code, result = await load(port, seconds=0.4)
    assert (code, result["lost"], result["resumes"]) == (1, 3, 0)


async def test_no_reconnect() -> None:
    async with served(says(PLAIN, numbered(1), then=0)) as port:
        code, result = await load(port, "-n", "5", "--no-reconnect", seconds=20)
    assert (code, result["connects"], result["disconnects"], result["open_at_end"]) == (0, 5, 5, 0)
    assert result["seconds"] < 15


@pytest.mark.parametrize("slow", [says(then=3600), says(PLAIN, *[b":"] * 10_000), says(PLAIN, numbered(1))])
async def test_the_run_is_over_in_time(slow: Handler) -> None:
    start = time.monotonic()
    async with served(slow) as port:
        code, result = await load(port, "-n", "3", seconds=0.5)
    assert 0.5 <= result["seconds"] < 1.0
    assert time.monotonic() - start < 8
    assert code == (0 if result["opened"] == 3 else 1)
    assert result["tried"] == 3


async def test_the_rate_is_kept() -> None:
    async with served(says(PLAIN)) as port:
        _, result = await load(port, "-n", "1000", "--rate", "50", seconds=1)
    assert 30 <= result["tried"] <= 52


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
async def test_latency(unit: str) -> None:
    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        sent = time.time() - 0.5
        text = {"s": repr(sent), "ms": str(int(sent * 1e3)), "ns": str(int(sent * 1e9))}[unit]
        writer.write(PLAIN + b'data: {"ts":%s}\n\n' % text.encode())
        await asyncio.sleep(3600)

    async with served(handler) as port:
        _, result = await load(port)
    latency = result["latency"]
    assert latency["events"] == 1
    assert 0.49 < latency["p50"] == latency["p90"] == latency["p99"] == latency["max"] < 3


async def test_the_summary_as_json_has_a_fixed_form() -> None:
    async with served(says(PLAIN, numbered(1))) as port:
        _, result = await load(port)
    texts, bools = ["url"], ["interrupted", "ok"]
    counts = (
        "asked streams tried opened open_at_end most_open connects failed_connects disconnects resumes events bytes"
    )
    counts += " numbered lost duplicates out_of_order parse_errors"
    other = {"seconds", "failures", "events_per_second", "cpu_seconds", "parse_error_kinds", "latency"}
    assert set(result) == {*texts, *bools, *counts.split(), *other}
    assert all(type(result[key]) is int for key in counts.split())
    assert all(type(result[key]) is bool for key in bools)
    assert result["latency"] is None


async def test_the_summary_as_text() -> None:
    async with served(says(CHUNKED, chunk(b'data: {"seq":1,"ts":1.5}\n\n'))) as port:
        code, out, err = await command(f"http://127.0.0.1:{port}", "-n", "2", "--seconds", "0.5")
    assert (code, err) == (0, "")
    assert out.startswith(f"http://127.0.0.1:{port}\n  streams   2\n  opened    2; most at one time 2\n")
    assert "lost 0, duplicates 0, out of order 0" in out
    assert "latency   p50" in out
    assert out.endswith("result    ok\n")


async def test_headers_are_sent() -> None:
    seen = b""

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen = request
        writer.write(PLAIN)
        await asyncio.sleep(3600)

    async with served(handler) as port:
        await load(port, "--header", "Cookie: a=b", "--header", "accept:x/y")
    assert seen.startswith(b"GET /events?x=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port)
    lines = seen.split(b"\r\n")
    assert b"Cookie: a=b" in lines and b"accept: x/y" in lines and b"Accept: text/event-stream" not in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["https://127.0.0.1/"], "https is not supported"),
        (["ftp://127.0.0.1/"], "not an http:// URL"),
        (["127.0.0.1:8000"], "not an http:// URL"),
        (["http://a:b@127.0.0.1/"], "user name"),
        (["http://127.0.0.1:99999/"], "ort out of range"),
        (["http://no-such-host.invalid/"], "cannot resolve"),
        (["http://192.0.2.1/"], "--i-own-this-host"),
        (["http://[2001:db8::1]/"], "--i-own-this-host"),
        (["http://0.0.0.0/"], "--i-own-this-host"),
        (["http://127.0.0.1/", "-n", "0"], "invalid number from 1"),
        (["http://127.0.0.1/", "--seconds", "nan"], "invalid number above 0"),
        (["http://127.0.0.1/", "--rate", "-1"], "invalid number above 0"),
        (["http://127.0.0.1/", "--header", "no colon"], "not a header"),
        (["http://127.0.0.1/", "--header", "a: b\r\nc: d"], "not a header"),
        (["http://127.0.0.1/", "--header", "last-event-id: 5"], "cannot be set"),
        ([], "required"),
    ],
)
async def test_wrong_usage_is_refused(arguments: list[str], message: str) -> None:
    code, out, err = await command(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


async def test_another_host_for_who_owns_it() -> None:
    async with served(says(PLAIN), host="0.0.0.0") as port:
        code, _, _ = await command(f"http://0.0.0.0:{port}", "-n", "1", "--seconds", "0.4", "--i-own-this-host")
    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_it_with_a_summary(number: int) -> None:
    async with served(says(PLAIN, numbered(1, 2))) as port:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fastware_sse.cli", "load", f"http://127.0.0.1:{port}/", "--json", "-n", "3"),
            *("--seconds", "60"),
            stdout=subprocess.PIPE,
        )
        await asyncio.sleep(1.5)
        process.send_signal(number)
        out, _ = await asyncio.wait_for(process.communicate(), 5)
    result = json.loads(out)
    assert (process.returncode, result["interrupted"], result["events"]) == (0, True, 6)


async def test_a_terminal_sees_a_progress_bar() -> None:
    ours, theirs = pty.openpty()
    async with served(says(PLAIN, numbered(1))) as port:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fastware_sse.cli", "load", f"http://127.0.0.1:{port}/", "-n", "1"),
            *("--seconds", "1"),
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        out, _ = await process.communicate()
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert "[###" in shown and "open 1  events 1 " in shown
    assert shown.endswith("\r\x1b[K")
    assert b"result    ok" in out


async def test_the_limit_of_open_files_is_told() -> None:
    async with served(says(PLAIN)) as port:
        code, result = await load(
            port, "-n", "500", seconds=1, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 90))
        )
    assert code == 1, "not as many as asked for"
    assert result["asked"] == 500
    assert 60 < result["streams"] == result["opened"] < 90


@pytest.mark.e2e
async def test_more_streams_than_one_source_address_takes() -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 6000:
        pytest.skip("the limit of open files is too low")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, Path(__file__).parent / "load" / "burst_server.py", str(port), "3"])
    try:
        for _ in range(100):
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            await asyncio.sleep(0.1)
        code, result = await load(port, "-n", "4500", "--rate", "10000", seconds=6)
    finally:
        server.kill()
        server.wait()
    assert (code, result["open_at_end"], result["events"], checked(result)) == (0, 4500, 13_500, (0, 0, 0, 0))


# ---- the binding ----


def run_here(port: int, **changes: Any) -> Any:
    request = b"GET / HTTP/1.1\r\nHost: x\r\n"
    options = {"streams": 2, "rate": 1000.0, "seconds": 0.5, "reconnect": False, "seq": b'"seq"', "ts": b'"ts"'}
    addresses = changes.pop("addresses", [("127.0.0.1", str(port))])
    return _load.run(addresses, request, **(options | {"progress": None} | changes))


async def test_the_gil_is_free_meanwhile_and_everything_is_given_back() -> None:
    async with served(says(CHUNKED, chunk(numbered(1)), chunk(b"id: 5\ndata: half"))) as port:
        counts = await asyncio.to_thread(run_here, port)
    assert (counts["events"], counts["opened"], _load._alloc_live()) == (2, 2, 0)


async def test_addresses_are_tried_in_turn() -> None:
    async with served(says(PLAIN, numbered(1))) as port:
        addresses = [("127.0.0.77", str(port)), ("127.0.0.78", str(port)), ("127.0.0.1", str(port))]
        counts = await asyncio.to_thread(run_here, port, addresses=addresses, streams=20)
    assert (counts["opened"], counts["failures"]) == (20, {})


async def test_progress_is_called_and_may_stop_or_raise() -> None:
    calls: list[Any] = []

    def stop(counts: Any) -> bool:
        calls.append(counts)
        return len(calls) == 3

    def fail(counts: Any) -> None:
        raise LookupError("mine")

    async with served(says(PLAIN)) as port:
        start = time.monotonic()
        await asyncio.to_thread(run_here, port, seconds=60, progress=stop)
        with pytest.raises(LookupError, match="mine"):
            await asyncio.to_thread(run_here, port, seconds=60, progress=fail)
        assert time.monotonic() - start < 5
    assert len(calls) == 3
    assert calls[-1]["open"] == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"addresses": []},
        {"addresses": [("localhost", "80")]},
        {"addresses": [("127.0.0.1", "80")] * 17},
        {"streams": 0},
        {"rate": 0.0},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        run_here(1, **changes)
