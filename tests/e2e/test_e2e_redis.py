"""RedisStream where it is not like JetStream: its errors, its connections, its scripts."""

import asyncio
import contextlib
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import trustme
from engines import Engine, proxy, redis_server
from test_e2e_engines import Follower, items, numbers, read_all

from fastware_sse import _redis_server, _redis_tail
from fastware_sse.backplane import BackplaneError, BackplaneRefused, Entry, EntryTooLarge, Item, PositionLost, decoded
from fastware_sse.redis import RedisStream, publish

pytestmark = pytest.mark.e2e


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Engine]:
    with redis_server(tmp_path) as engine:
        yield engine


@contextlib.asynccontextmanager
async def opened(url: str, key: str = "news", **options: Any) -> AsyncIterator[tuple[RedisStream, str, str]]:
    stream = RedisStream(url, key, **options)
    try:
        async with asyncio.timeout(60):
            await stream.open()
            yield stream, await stream.epoch(), await stream.last()
    finally:
        await stream.close()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "begins with"),
        ("localhost:6379", "begins with"),
        ("http://localhost", "begins with"),
        ("redis://", "names no host"),
        ("redis://:secret@", "names no host"),
        ("redis://localhost:port", "port"),
        ("redis://anna:secret/x@localhost", "percent-encoded"),
        ("redis://anna:secret#x@localhost", "percent-encoded"),
        ("redis://anna:12/secret@localhost", "percent-encoded"),
        ("redis://anna:[secret@localhost", "percent-encoded"),
        ("redis://localhost:99999", "ort"),
        ("redis://localhost/news", "number of a database"),
        ("redis://localhost?nonsense=1", "nonsense"),
        ("redis://localhost?ssl_check_hostname=1&health_check_interval=soon", "health_check_interval"),
        ("redis://localhost?protocol=3", "cannot be chosen: protocol"),
        ("redis://localhost?decode_responses=True&encoding=", "cannot be chosen: decode_responses, encoding"),
        ("redis://localhost?socket_timeout=1", "cannot be chosen: socket_timeout"),
        ("unix://", "path of a socket"),
    ],
)
def test_a_url_that_is_nonsense(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as raised:
        RedisStream(url, "news")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((None, "news"), {}, TypeError),
        ((b"redis://localhost", "news"), {}, TypeError),
        (("redis://localhost", b"news"), {}, TypeError),
        (("redis://localhost", "news"), {"maxlen": "1"}, TypeError),
        (("redis://localhost", "news"), {"maxlen": True}, TypeError),
        (("redis://localhost", "news"), {"maxlen": 0}, ValueError),
        (("redis://localhost", "news"), {"maxlen": 10**30}, ValueError),
        (("redis://localhost", ""), {}, ValueError),
    ],
)
def test_arguments_that_are_nonsense(arguments: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        RedisStream(*arguments, **options)


def test_a_password_is_in_no_text() -> None:
    stream = RedisStream("redis://anna:secret@localhost:1/2?health_check_interval=9", "news")
    assert repr(stream) == "RedisStream('redis://localhost:1/2', 'news')"


async def refused(url: str, text: str, key: str = "news") -> None:
    with pytest.raises(BackplaneRefused, match=text) as raised:
        async with opened(url, key) as (stream, _, _):
            await stream.publish("aa", items(1, 2))
    assert "secret" not in str(raised.value)


async def test_another_type_under_the_key(server: Engine) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set("news", "text")
    await refused(server.url, "the key 'news' holds something else than a stream")


async def test_the_key_becomes_another_type(server: Engine) -> None:
    async with opened(server.url) as (stream, epoch, start):
        follower = Follower(stream, epoch, start)
        await stream.publish("aa", items(1, 1))
        await follower.has(1)
        with redis.Redis.from_url(server.url) as client:
            client.set("news", "text")
        for call in (
            lambda: stream.publish("aa", items(2, 2)),
            lambda: stream.page(epoch, start, 1),
            stream.last,
            stream.epoch,
        ):
            with pytest.raises(BackplaneRefused, match="something else than a stream"):
                await call()
        assert isinstance(await follower.error(), BackplaneRefused)


async def test_another_key_becomes_another_type(server: Engine) -> None:
    """One read is for all who follow, and does not say whose key it is."""
    async with opened(server.url) as (stream, epoch, start), opened(server.url, "other") as (other, its, first):
        followers = Follower(stream, epoch, start), Follower(other, its, first)
        await stream.publish("aa", items(1, 1))
        await other.publish("aa", items(1, 1))
        for follower in followers:
            await follower.has(1)
        with redis.Redis.from_url(server.url) as client:
            client.set("other", "text")
        await stream.publish("aa", items(2, 2))
        assert re.fullmatch("redis://[^ ]*: reading was refused: WRONGTYPE [^']*", str(await followers[0].error()))
        assert isinstance(await followers[1].error(), BackplaneError)
        follower = Follower(stream, epoch, start)
        assert await follower.has(2) == numbers(1, 2)
        await follower.stop()


async def test_authentication_refused(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass", "right") as server:
        place = f"127.0.0.1:{server.port}"
        await refused(server.url, f"redis://{place} refuses the user or the password")
        await refused(f"redis://:secret@{place}", "refuses the user or the password")
        await refused(f"redis://anna:secret@{place}", "refuses the user or the password")
        async with opened(f"redis://:right@{place}") as (stream, _, _):
            await stream.publish("aa", items(1, 2))


async def test_a_user_who_may_not(server: Engine) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.acl_setuser("anna", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-xadd"])
    await refused(f"redis://anna:secret@127.0.0.1:{server.port}", "refuses: .*can.t run this command")


async def test_a_server_out_of_memory_adds_all_or_nothing(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--maxmemory", "8mb", "--maxmemory-policy", "noeviction") as server:
        async with opened(server.url, maxlen=10**6) as (stream, epoch, start):
            done = 0
            with pytest.raises(BackplaneRefused, match="is out of memory"):
                while done < 100_000:
                    await stream.publish("aa", items(done + 1, done + 100, size=1000))
                    done += 100
            with redis.Redis.from_url(server.url) as client:
                assert client.xlen("news") == done
                client.config_set("maxmemory", "100mb")
            await stream.publish("aa", items(done + 1, done + 100))
            page = [entry for page in await read_all(stream, epoch, start) for entry in page.entries]
            assert [entry.data.decode().rstrip("x") for entry in page] == numbers(1, done + 100)


@contextlib.contextmanager
def replica_of(server: Engine, folder: Path) -> Iterator[Engine]:
    folder.mkdir()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("repl-diskless-sync-delay", 0)  # for other replicas that might come, 5 s
    with redis_server(folder, "--replicaof", "127.0.0.1", str(server.port)) as replica:
        yield replica


async def replicated(server: Engine) -> None:
    with redis.Redis.from_url(server.url) as client:
        while client.info("replication").get("slave0", {}).get("state") != "online" or not client.wait(1, 100):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_followed", [True, False])
async def test_a_failover_that_leaves_the_connections_to_the_old_master_open(
    tmp_path: Path, server: Engine, is_followed: bool
) -> None:
    """What stands in front of both leads new ones to the new master."""
    with replica_of(server, tmp_path / "replica") as replica:
        async with proxy(server) as name, opened(name.url) as (stream, epoch, start):
            await stream.publish("aa", items(1, 3))
            follower = Follower(stream, epoch, start) if is_followed else None
            if follower is not None:
                await follower.has(3)
            await replicated(server)
            with redis.Redis.from_url(replica.url) as client:
                client.replicaof("NO", "ONE")
            with redis.Redis.from_url(server.url) as client:
                client.replicaof("127.0.0.1", str(replica.port))
            name._engine = replica
            if follower is not None:
                error = await follower.error()
            else:
                with pytest.raises(BackplaneError) as raised:
                    await stream.publish("aa", items(4, 5))
                error = raised.value
            assert "is a replica" in str(error) and not isinstance(error, BackplaneRefused)
            await stream.publish("aa", items(4, 5))
            with redis.Redis.from_url(replica.url) as client:
                assert client.xlen("news") == 5
            follower = Follower(stream, epoch, start)
            assert await follower.has(5) == numbers(1, 5)
            await follower.stop()


def test_a_script_that_a_replica_of_redis_6_refuses() -> None:
    text = "Error running script (call to f_0a): @user_script:20: @user_script: 20: -READONLY You can't write against"
    error = redis.exceptions.ResponseError(text)
    explained = _redis_server._explanation(error, "redis://h", "news")
    assert "is a replica" in str(explained) and not isinstance(explained, BackplaneRefused)


async def test_a_replica_and_a_master_with_too_few(tmp_path: Path, server: Engine) -> None:
    async with opened(server.url) as (stream, epoch, _):
        with replica_of(server, tmp_path / "replica") as replica:
            await stream.publish("aa", items(1, 3))
            await replicated(server)
            async with opened(replica.url) as (copy, copied, _):
                assert copied == epoch
                with pytest.raises(BackplaneError, match="is a replica: .*read only"):
                    await copy.publish("aa", items(4, 5))
        with redis.Redis.from_url(server.url) as client:
            client.config_set("min-replicas-to-write", 1)
        with pytest.raises(BackplaneRefused, match="(?i)replicas"):
            await stream.publish("aa", items(4, 5))


async def test_tls_refused(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate = ["--tls-cert-file", "chain.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem"]
    with redis_server(tmp_path, *certificate, "--tls-auth-clients", "no", "--tls-port", "0") as server:
        with pytest.raises(BackplaneError, match="does it speak TLS there"):
            async with opened(f"rediss://127.0.0.1:{server.port}"):
                pass
        with redis.Redis.from_url(server.url) as client:
            client.config_set("port", 0)
            client.config_set("tls-port", server.port)
        url = f"rediss://127.0.0.1:{server.port}"
        await refused(url, "no TLS connection: .*certificate verify failed")
        async with opened(f"{url}?ssl_ca_certs={tmp_path}/ca.pem") as (stream, epoch, start):
            await stream.publish("aa", items(1, 2))
            assert len((await stream.page(epoch, start, 9)).entries) == 2


async def test_what_is_larger_than_redis_takes(server: Engine) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 20_000_000

    async with opened(server.url) as (stream, epoch, start):
        with pytest.raises(EntryTooLarge) as raised:
            await stream.publish("aa", [Item(1, "update", b""), Item(2, "update", Huge())])
        assert raised.value.counter == 2
        assert (await stream.page(epoch, start, 9)).entries == []


async def test_reads_become_smaller_where_a_link_is_slow(server: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first read does not come through in its time, another one of that size would not either."""
    monkeypatch.setattr(_redis_server, "PATIENCE", 1.0)
    monkeypatch.setattr(_redis_server, "BLOCK", 0.5)
    async with opened(server.url) as (stream, epoch, start), proxy(server) as between:
        for number in range(1, 65):
            await stream.publish("aa", items(number, number, size=200_000))

        async def slow() -> None:
            while True:  # a piece of 64 KiB at a time: 3 MB/s at most
                between.back.set()
                between.back.clear()
                await asyncio.sleep(0.02)

        async def first(reader: RedisStream) -> list[Entry]:
            async for entries in reader.tail(epoch, start):
                return entries
            raise AssertionError

        link, tries = asyncio.create_task(slow()), 0
        async with opened(between.url) as (reader, _, _):
            entries: list[Entry] = []
            while not entries:
                tries += 1
                assert tries < 8
                with contextlib.suppress(BackplaneError):
                    entries = await first(reader)
            assert tries > 1 and [entry.data.decode().rstrip("x") for entry in entries] == numbers(1, len(entries))
        link.cancel()
        between.back.set()
        while between._writers:
            await asyncio.sleep(0.01)


async def ours(client: Any) -> list[dict[str, str]]:
    return [each for each in await client.client_list() if each["id"] != str(await client.client_id())]


async def test_streams_of_a_server_share_three_connections(server: Engine) -> None:
    client = redis.asyncio.Redis.from_url(server.url, single_connection_client=True)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.aclose)
        followers = []
        for number in range(5):
            stream, epoch, start = await stack.enter_async_context(opened(server.url, f"news{number}"))
            followers.append(Follower(stream, epoch, start))
            await stream.publish("aa", items(1, 1))
            await stream.page(epoch, start, 1)
        for follower in followers:
            await follower.has(1)
        assert len(await ours(client)) == 3
        for follower in followers:
            await follower.stop()
        await stack.pop_all().aclose()
    with redis.Redis.from_url(server.url) as look:
        while len(look.client_list()) > 1:  # the server has to notice that they were closed
            await asyncio.sleep(0.01)


async def test_connections_that_are_killed(server: Engine) -> None:
    """Those that idle are made again without a word; who follows is told."""
    with redis.Redis.from_url(server.url) as client:
        async with opened(server.url) as (stream, epoch, start):
            follower = Follower(stream, epoch, start)
            await stream.publish("aa", items(1, 1))
            await follower.has(1)
            client.client_kill_filter(_type="normal", skipme=True)
            await stream.publish("aa", items(2, 2))
            assert len((await stream.page(epoch, start, 9)).entries) == 2
            assert str(await follower.error()).startswith("redis://")
            follower = Follower(stream, epoch, follower.entries[-1].position)
            assert await follower.has(1) == ["2"]
            await follower.stop()


async def test_scripts_that_the_server_has_forgotten(server: Engine) -> None:
    async with opened(server.url) as (stream, epoch, start):
        await stream.publish("aa", items(1, 1))
        with redis.Redis.from_url(server.url) as client:
            client.script_flush()
        await stream.publish("aa", items(1, 2))
        with redis.Redis.from_url(server.url) as client:
            client.script_flush()
        assert [entry.data for entry in (await stream.page(epoch, start, 9)).entries] == [b"1", b"2"]


@pytest.mark.parametrize(("key", "counter"), [("news", "{news}:aa"), ("{app}:news", "{app}:news:aa")])
async def test_the_counter_stands_beside_the_stream_and_expires(server: Engine, key: str, counter: str) -> None:
    async with opened(server.url, key) as (stream, _, _):
        await stream.publish("aa", items(1, 7))
        publish(server.url, key, "update", "")
        with redis.Redis.from_url(server.url) as client:
            assert client.get(counter) == b"7"
            assert client.keyslot(counter) == client.keyslot(key) if hasattr(client, "keyslot") else True
            assert 86_000 < client.ttl(counter) <= 86_400
            [other] = set(client.scan_iter()) - {counter.encode(), key.encode()}
            assert 0 < client.ttl(other) <= 60


async def test_an_epoch_outlives_trimming_and_other_groups(server: Engine) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.xadd("news", {"made": "by somebody else"})
        client.xgroup_create("news", "workers")
        async with opened(server.url) as (stream, epoch, last):
            assert decoded(last) > 0  # a stream that was there gets an epoch, and is not changed
            await stream.publish("aa", items(1, 5))
            client.xtrim("news", maxlen=0, approximate=False)
            assert await stream.epoch() == epoch
            assert decoded(await stream.last()) > decoded(last)
            assert {group["name"] for group in client.xinfo_groups("news")} == {
                b"workers",
                b"fastware-sse-" + epoch.encode(),
            }


async def test_behind_the_newest_entry_nothing_is_missing_though_it_was_removed(server: Engine) -> None:
    async with opened(server.url) as (stream, epoch, start):
        await stream.publish("aa", items(1, 5))
        last = await stream.last()
        with redis.Redis.from_url(server.url) as client:
            client.xdel("news", client.xrevrange("news", count=1)[0][0])
            assert await stream.covers(epoch, last)
            assert await stream.covers(epoch, start)
            client.xtrim("news", maxlen=0, approximate=False)
        assert await stream.covers(epoch, last)
        assert (await stream.page(epoch, last, 9)).entries == []
        assert not await stream.covers(epoch, start)
        follower = Follower(stream, epoch, last)
        await stream.publish("aa", items(6, 6))
        assert await follower.has(1) == ["6"]
        await follower.stop()


async def test_two_processes_that_begin_at_once_agree(server: Engine) -> None:
    streams = [RedisStream(server.url, "news") for _ in range(5)]
    for stream in streams:
        await stream.open()
    assert len(set(await asyncio.gather(*(stream.epoch() for stream in streams)))) == 1
    for stream in streams:
        await stream.close()


async def test_who_reads_far_back_is_told_of_what_is_trimmed_meanwhile_among_foreign_entries(server: Engine) -> None:
    """A foreign entry vouches for nothing."""
    async with opened(server.url) as (stream, epoch, start):
        await stream.publish("aa", items(1, 1))
        with redis.Redis.from_url(server.url) as client:
            [first] = (await stream.page(epoch, start, 1)).entries
            await stream.publish("aa", items(2, 2))
            foreign = client.xadd("news", {"hello": "world"})
            await stream.publish("aa", items(3, 3))
            client.xtrim("news", minid=foreign, approximate=False)
        follower = Follower(stream, epoch, first.position)
        assert isinstance(await follower.error(), PositionLost)
        assert follower.entries == []


async def test_a_second_loop_has_connections_of_its_own(server: Engine) -> None:
    stream = RedisStream(server.url, "news")

    async def once(number: int) -> Any:
        await stream.open()
        await stream.epoch()
        await stream.publish("aa", items(number, number))
        return stream._share.server

    left = asyncio.new_event_loop()  # without close(), as a fork does it
    connections = await asyncio.to_thread(left.run_until_complete, once(1))
    assert await once(2) is not connections
    await stream.close()
    async with opened(server.url) as (other, epoch, _):
        assert len((await other.page(epoch, "a" * 26, 9)).entries) == 2
    await asyncio.to_thread(left.run_until_complete, connections.close())
    left.close()


FORK = """
import asyncio, gc, os, sys, threading
from fastware_sse import _share
from fastware_sse.backplane import Item
from fastware_sse.redis import RedisStream

stream = RedisStream(sys.argv[1], "news")
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()

def call(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

async def ids():
    return sorted(each["id"] for each in await stream._share.server.ranges.client_list())

call(stream.open())
epoch = call(stream.epoch())
call(stream.publish("aa", [Item(1, "update", b"")]))
before = call(ids())
child = os.fork()
if child == 0:
    del stream
    _share._servers.clear()  # as the end of the interpreter does it
    gc.collect()
    os._exit(0)
os.waitpid(child, 0)
call(stream.publish("aa", [Item(2, "update", b"")]))
assert len(call(stream.page(epoch, "a" * 26, 9)).entries) == 2
assert call(ids()) == before
"""


def test_the_child_of_a_fork_leaves_the_connections_alone(server: Engine) -> None:
    """What it frees would leave the selector, which is the parent's too: nothing would arrive there any more."""
    run = subprocess.run([sys.executable, "-c", FORK, server.url], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


def test_nothing_is_logged(server: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """What an outage is called is for the runtime to say, once."""
    caplog.set_level(logging.INFO)
    server.kill()
    with contextlib.suppress(Exception):
        publish(server.url, "news", "update", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


class Deaf:
    """A client that swallows the first cancellation of a task, as redis-py does now and then."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    async def execute_command(self, *command: object) -> list[object]:
        self.calls.append(command[0])
        if command[0] == "XREAD":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) is None or task.cancelling() > 1:
                    raise
        return []


async def test_a_task_that_swallows_its_cancellation_reads_no_more_and_holds_up_no_close() -> None:
    reading = Deaf()
    tail = _redis_tail.Tail(reading, Deaf())
    for number in (1, 2):
        follower = asyncio.create_task(anext(tail.follow(b"news", b"0-0")))
        while reading.calls.count("XREAD") < number:
            await asyncio.sleep(0)
        task = tail._task
        assert task is not None
        if number == 1:
            follower.cancel()  # nobody follows any more
            await asyncio.wait([follower])
            await asyncio.wait([task], timeout=5)
        else:
            async with asyncio.timeout(5):
                await tail.close()
            with pytest.raises(ConnectionError):
                await follower
        assert task.done() and reading.calls.count("XREAD") == number
