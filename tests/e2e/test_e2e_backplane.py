"""Broadcasters on real servers: each fault is a clear word to the operator, or a gap that clients are told of."""

import asyncio
import json
import os
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from audience import audience
from backdoor import Backdoor, Nats, Redis
from engines import nats_server, redis_server
from listening import LIMIT, Listener, in_contact, listener, records, until
from servers import UVICORN, running
from support import permissive, run_python

from fastware_sse import Broadcaster
from fastware_sse.backplane import encoded
from fastware_sse.nats import JetStream
from fastware_sse.redis import RedisStream

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["redis", "nats"])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backdoor]:
    start, kind = (redis_server, Redis) if request.param == "redis" else (nats_server, Nats)
    with start(tmp_path) as engine:
        yield kind(engine)


def on(door: Backdoor, **options: Any) -> Broadcaster:
    return permissive(backplane=door.stream(maxlen=100_000), **options)


def state(broadcaster: Broadcaster) -> dict[str, Any]:
    return broadcaster.stats()["backplane"]


async def in_trouble(broadcaster: Broadcaster, text: str) -> None:
    await until(lambda: text in (state(broadcaster)["trouble"] or ""))


async def test_two_broadcasters_on_one_stream_in_one_process(door: Backdoor) -> None:
    broadcasters = [on(door), on(door)]
    clients = [await listener(broadcaster) for broadcaster in broadcasters]
    for number in range(2_000):
        broadcasters[number % 2].broadcast("message", str(number))
    for client in clients:
        await until(lambda client=client: len(client.texts) >= 2_000)
    first, second = (client.got for client in clients)
    assert first.events == second.events
    for half in (0, 1):
        assert [text for text in first.texts if int(text) % 2 == half] == list(map(str, range(half, 2_000, 2)))
    broadcasters[0].close()
    broadcasters[1].broadcast("message", "alone")
    await until(lambda: clients[1].texts[-1] == "alone")
    broadcasters[1].close()
    await door.close()


async def test_a_stream_that_several_make_at_the_same_time(tmp_path: Path) -> None:
    """All see one epoch. A server may say of a half-made stream that it is there, and not since when."""
    with nats_server(tmp_path) as engine:
        # Each of these has a connection of its own.
        urls = [engine.url, engine.url.replace("127.0.0.1", "localhost"), f"{engine.url},{engine.url}"]
        for number in range(500):
            streams = [JetStream(url, f"s{number}") for url in urls]
            if number == 0:
                held = streams
            for stream in streams:
                await stream.open()
            assert len(set(await asyncio.gather(*(stream.epoch() for stream in streams)))) == 1
            for stream in streams if number else ():
                await stream.close()
        for stream in held:
            await stream.close()


async def test_a_stream_that_is_deleted_under_its_readers(door: Backdoor, caplog: pytest.LogCaptureFixture) -> None:
    publisher, other = on(door), on(door)
    clients = [await listener(publisher), await listener(other)]
    publisher.broadcast("message", "before")
    for client in clients:
        await client.has("before")
    await door.delete()
    publisher.broadcast("message", "after")
    for client in clients:
        await until(lambda client=client: client.got.gaps)
    publisher.broadcast("message", "at last")
    for client in clients:
        await until(lambda client=client: client.texts[-1] == "at last")
        assert [json.loads(gap)["reason"] for gap in client.got.gaps] == ["epoch"]
        assert client.texts in (["before", "after", "at last"], ["before", "at last"])
    assert clients[0].got.last_id == clients[1].got.last_id
    assert "clients are told of a gap" in caplog.text
    publisher.close()
    other.close()
    await door.close()


async def test_a_foreign_and_a_poisoned_entry(door: Backdoor) -> None:
    broadcaster = on(door)
    client = await listener(broadcaster)
    await door.add_foreign()
    await door.poison()
    broadcaster.broadcast("message", "good")
    seen = await client.has("good")
    assert seen.gaps == [] and [event.type for event in seen.events] == ["message"]
    assert (state(broadcaster)["foreign"], state(broadcaster)["refused"]) == (2, 3)
    # And who comes back from in front of them.
    back = await listener(broadcaster, client.got.last_id)
    broadcaster.broadcast("message", "better")
    await back.has("better")
    broadcaster.close()
    await door.close()


async def test_redis_has_lost_an_entry_and_goes_on_around_it(tmp_path: Path) -> None:
    """A failover to a machine whose clock is behind. A client that has seen the lost one must not miss what stands in
    front of it; a node that has not seen it finds its id between two events of its log."""
    with redis_server(tmp_path) as engine:
        door = Redis(engine)
        broadcaster = on(door, history=100)
        client = await listener(broadcaster)
        broadcaster.broadcast("message", "first")
        await client.has("first")
        at = int(time.time() * 1000) + 60_000
        with redis.Redis.from_url(engine.url) as direct:
            for place, text in ((at - 5, "in front"), (at + 5, "behind")):
                direct.xadd("news", {"event": "message", "data": text, "from": "nobody 1"}, f"{place}-0")
        await client.has("first", "in front", "behind")
        epoch, _, _ = client.got.last_id.partition("-")
        back = await listener(broadcaster, f"{epoch}-{encoded(at, 13)}{encoded(0, 13)}")
        await until(lambda: back.got.gaps)
        await back.has("first", "in front", "behind")
        assert json.loads(back.got.gaps[0])["reason"] == "evicted"
        broadcaster.close()
        await door.close()


async def test_a_hundred_thousand_events_while_the_server_is_away(door: Backdoor) -> None:
    broadcaster = on(door, backplane_buffer=(30_000, 1 << 24))
    client = await listener(broadcaster)
    await asyncio.to_thread(door.server.kill)
    broadcaster.broadcast("message", "0")
    await until(lambda: state(broadcaster)["away_since"])
    kept, most = 1, 0
    for number in range(1, 100_000):
        try:
            broadcaster.broadcast("message", str(number))
        except RuntimeError as error:
            assert type(error).__name__ == "BackplaneFull"
        else:
            assert number == kept
            kept += 1
        most = max(most, state(broadcaster)["queued_bytes"]) if number % 1000 == 0 else most
    assert kept == state(broadcaster)["queued_events"] == 30_000 and most <= 1 << 24
    assert broadcaster.client_count == 1
    await asyncio.to_thread(door.server.start)
    await until(lambda: client.ends_with(29_999))
    assert client.texts == list(map(str, range(30_000))) and client.got.gaps == []
    broadcaster.broadcast("message", "on")
    await until(lambda: client.ends_with("on"))
    broadcaster.close()
    await door.close()


async def test_a_node_that_stood_still_while_the_stream_was_trimmed(door: Backdoor) -> None:
    environment = {"ENGINE": door.server.url, "MAXLEN": "1000", "BROADCASTER": '{"history": 10}'}
    async with running(UVICORN, "node", **environment) as slow, running(UVICORN, "node", **environment) as node:
        [browser] = await audience(1, [slow.port])
        pid = (await slow.request("POST", "/", {}))["pid"]
        await node.request("POST", "/", {"publish": ["a", 10, 1000]})
        await browser.has(10)
        os.kill(pid, signal.SIGSTOP)
        try:
            await node.request("POST", "/", {"publish": ["x" * 500, 15_000, 1e6]})
            async with asyncio.timeout(LIMIT):
                while (await node.request("POST", "/", {}))["backplane"]["queued_events"]:
                    pass
        finally:
            os.kill(pid, signal.SIGCONT)
        await browser.until(lambda: browser.gaps)
        await node.request("POST", "/", {"publish": ["b", 1, 1000]})
        await browser.until(lambda: browser.texts[-1] == "b 0")
        assert {gap["reason"] for gap in browser.gaps} == {"evicted"} and browser.faults == []
        browser.leave()


async def refused(broadcaster: Broadcaster, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """The operator is told once, and clients stay."""
    client = Listener(broadcaster)
    broadcaster.broadcast("message", "kept")
    await in_trouble(broadcaster, text)
    await asyncio.sleep(0.5)  # some attempts more
    warnings = records(caplog)
    assert len(warnings) == 1 and text in warnings[0], warnings
    assert "secret" not in caplog.text
    assert broadcaster.client_count == 1 and not client.exchange.task.done()


async def test_something_else_under_the_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path) as engine, redis.Redis.from_url(engine.url) as client:
        client.set("news", "a text")
        broadcaster = permissive(backplane=RedisStream(engine.url, "news"))
        await refused(broadcaster, "holds something else than a stream", caplog)
        client.delete("news")
        await until(lambda: client.exists("news") and client.xlen("news") == 1)
        await until(lambda: in_contact(broadcaster))
        broadcaster.close()


async def test_a_wrong_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path, "--requirepass", "right") as engine:
        url = engine.url.replace("//", "//:secret@")
        broadcaster = permissive(backplane=RedisStream(url, "news"))
        await refused(broadcaster, "refuses the user or the password", caplog)
        with redis.Redis.from_url(engine.url.replace("//", "//:right@")) as client:
            client.config_set("requirepass", "secret")
        await until(lambda: in_contact(broadcaster))
        broadcaster.close()


async def test_a_wrong_password_of_nats(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with nats_server(tmp_path, "--user", "u", "--pass", "right") as engine:
        broadcaster = permissive(backplane=JetStream(engine.url.replace("//", "//u:secret@"), "news"))
        await refused(broadcaster, "refuses the user", caplog)
        await until(lambda: state(broadcaster)["queued_events"] == 1)
        caplog.clear()
        close_at_once(broadcaster)
        assert "1 events that were broadcast could not be published" in caplog.text


def close_at_once(broadcaster: Broadcaster) -> None:
    """Without the patience that it has where a server may come back."""
    from fastware_sse import _background

    before, _background.FLUSH_LIMIT = _background.FLUSH_LIMIT, 0.1
    try:
        broadcaster.close()
    finally:
        _background.FLUSH_LIMIT = before


@pytest.mark.parametrize("kind", ["redis", "nats"])
async def test_no_tls_there(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (redis_server if kind == "redis" else nats_server)(tmp_path) as engine:
        if kind == "redis":
            backplane = RedisStream(engine.url.replace("redis://", "rediss://"), "news")
        else:
            backplane = JetStream(engine.url.replace("nats://", "tls://"), "news", tls=ssl.create_default_context())
        broadcaster = permissive(backplane=backplane)
        await refused(broadcaster, "TLS", caplog)
        close_at_once(broadcaster)


async def test_tls_that_is_not_trusted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    certificate.private_key_pem.write_to_path(str(key))
    certificate.cert_chain_pems[0].write_to_path(str(chain))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    options = ["--tls-cert-file", str(chain), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
    with redis_server(tmp_path, "--port", "0", "--tls-port", "{port}", *options) as engine:
        url = engine.url.replace("redis://", "rediss://")
        broadcaster = permissive(backplane=RedisStream(url, "news"))
        await refused(broadcaster, "no TLS connection", caplog)
        close_at_once(broadcaster)
        trusting = permissive(backplane=RedisStream(f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}", "news"))
        client = await listener(trusting)
        trusting.broadcast("message", "in private")
        await client.has("in private")
        trusting.close()


async def test_a_server_that_is_out_of_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path) as engine, redis.Redis.from_url(engine.url) as control:
        broadcaster = permissive(backplane=RedisStream(engine.url, "news"))
        client = await listener(broadcaster)
        broadcaster.broadcast("message", "0")
        await client.has(0)
        control.config_set("maxmemory", 1)
        for number in range(1, 1000):
            broadcaster.broadcast("message", str(number))
        await in_trouble(broadcaster, "out of memory")
        assert len(records(caplog)) == 1 and "out of memory" in caplog.text
        control.config_set("maxmemory", 0)
        await client.has(*range(1000))
        await until(lambda: state(broadcaster)["away_since"] is None)
        broadcaster.close()


async def test_clients_on_several_loops(door: Backdoor) -> None:
    broadcaster = on(door)
    ready = threading.Barrier(4, timeout=LIMIT)
    seen: list[list[str]] = []

    async def serve() -> None:
        client = await listener(broadcaster)
        await asyncio.to_thread(ready.wait)
        await client.has(*range(1_000))
        seen.append(client.texts)

    threads = [threading.Thread(target=asyncio.run, args=(serve(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    await asyncio.to_thread(ready.wait)
    for number in range(1_000):
        broadcaster.broadcast("message", str(number))
    for thread in threads:
        await asyncio.to_thread(thread.join, LIMIT)
    assert len(seen) == 3
    broadcaster.close()
    await door.close()


def test_parent_and_child_of_a_fork_both_go_on(door: Backdoor) -> None:
    """The parent's connections are as they were, although the child has copies of them and ends."""
    kind = "redis import RedisStream as Stream" if isinstance(door, Redis) else "nats import JetStream as Stream"
    code = f"""
import os, sys, time
from fastware_sse import Broadcaster
from fastware_sse.{kind}

broadcaster = Broadcaster(strict=False, history=1000, backplane=Stream({door.server.url!r}, "news"))

def state():
    return broadcaster.stats()["backplane"]

def wait(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, broadcaster.stats()
        time.sleep(0.001)

def publish(first, last):
    for number in range(first, last):
        broadcaster.broadcast("message", str(number))
    wait(lambda: state()["queued_events"] == 0)

publish(0, 100)
wait(lambda: broadcaster.stats()["events"] == 101)  # and the first contact
child = os.fork()
if child == 0:
    publish(100, 200)
    wait(lambda: broadcaster.stats()["events"] >= 101)
    sys.exit(0)  # the parent's connections are closed here
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
wait(lambda: broadcaster.stats()["events"] == 201)
for number in range(200, 300):
    publish(number, number + 1)
wait(lambda: broadcaster.stats()["events"] == 301)
assert state()["away_since"] is None
broadcaster.close()
"""
    run_python(code, PYTHONWARNINGS="ignore")


@pytest.mark.parametrize("end", ["sys.exit()", "broadcaster.close(); os._exit(0)", "raise SystemExit"])
def test_a_script_publishes_everything_before_it_ends(door: Backdoor, end: str) -> None:
    kind = "redis import RedisStream as Stream" if isinstance(door, Redis) else "nats import JetStream as Stream"
    code = f"""
import os, sys
from fastware_sse import Broadcaster
from fastware_sse.{kind}

broadcaster = Broadcaster(strict=False, backplane=Stream({door.server.url.replace("127.0.0.1", "localhost")!r}, "news"))
for number in range(5_000):
    broadcaster.broadcast("message", str(number))
{end}
"""
    run_python(code)

    async def published() -> list[str]:
        stream = door.stream()
        await stream.open()
        epoch, position, texts = await stream.epoch(), "a" * stream.digits, []
        while page := (await stream.page(epoch, position, 1000)).entries:
            texts += [entry.data.decode() for entry in page]
            position = page[-1].position
        await stream.close()
        return texts

    assert asyncio.run(published()) == list(map(str, range(5_000)))


async def test_a_server_of_asgi_flushes_at_sigterm(door: Backdoor) -> None:
    async with running(UVICORN, "node", ENGINE=door.server.url) as server:
        await server.request("POST", "/", {"burst": 20_000})
        server.terminate()
        assert await server.exit_code() in (0, -signal.SIGTERM)
        assert "are lost" not in server.log
