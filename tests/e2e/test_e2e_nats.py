"""JetStream where it is not like RedisStream: its errors, its connection, what is read back before a retry."""

import asyncio
import contextlib
import json
import re
import shutil
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nats
import pytest
import trustme
from credentials import Realm
from engines import Engine, nats_server, proxy
from nats.js.api import DiscardPolicy, RetentionPolicy, StreamConfig
from servers import reserve_port
from test_e2e_engines import Follower, items, numbers

from fastware_sse import _nats_publisher, _nats_server
from fastware_sse import nats as engine
from fastware_sse.backplane import BackplaneError, BackplaneRefused, EntryTooLarge, Item, Page, PositionLost, encoded
from fastware_sse.nats import JetStream

pytestmark = pytest.mark.e2e


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Engine]:
    with nats_server(tmp_path) as engine:
        yield engine


@contextlib.asynccontextmanager
async def opened(url: str, name: str = "news", **options: Any) -> AsyncIterator[tuple[JetStream, str, str]]:
    stream = JetStream(url, name, **options)
    try:
        async with asyncio.timeout(60):
            await stream.open()
            yield stream, await stream.epoch(), await stream.last()
    finally:
        await stream.close()


@contextlib.asynccontextmanager
async def direct(server: Engine) -> AsyncIterator[Any]:
    """JetStream without our engine."""
    client = await nats.connect(server.url, allow_reconnect=False)
    try:
        yield client.jetstream()
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "begins with"),
        ("localhost:4222", "begins with"),
        ("redis://localhost", "begins with"),
        ("nats://", "names no host"),
        ("nats://anna:secret@", "names no host"),
        ("nats://localhost,", "begins with"),
        ("nats://localhost:port", "port"),
        ("nats://anna:secret/x@localhost", "percent-encoded"),
        ("nats://anna:secret,x@localhost", "percent-encoded"),
        ("nats://anna:1,secret:x@localhost", "percent-encoded"),
        ("nats://localhost:99999", "ort"),
        ("nats://anna:secret@a,nats://anna:secret2@b", "the same"),
    ],
)
def test_a_url_that_is_nonsense(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as raised:
        JetStream(url, "news")
    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((None, "news"), {}, TypeError),
        (("nats://localhost", b"news"), {}, TypeError),
        (("nats://localhost", "news"), {"maxlen": 1.5}, TypeError),
        (("nats://localhost", "news"), {"maxlen": True}, TypeError),
        (("nats://localhost", "news"), {"maxlen": 0}, ValueError),
        (("nats://localhost", "news"), {"maxlen": 2**63}, ValueError),
        (("nats://localhost", "news"), {"tls": True}, TypeError),
        (("nats://localhost", "news"), {"credentials": 5}, TypeError),
        (("nats://localhost", ""), {}, ValueError),
        (("nats://localhost", "news.sport"), {}, ValueError),
        (("nats://localhost", "news sport"), {}, ValueError),
        (("nats://localhost", "news>"), {}, ValueError),
    ],
)
def test_arguments_that_are_nonsense(arguments: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        JetStream(*arguments, **options)


def test_a_password_is_in_no_text() -> None:
    stream = JetStream("nats://anna:secret@one:1,nats://anna:secret@two:2", "news")
    assert repr(stream) == "JetStream('nats://one:1,nats://two:2', 'news')"


@pytest.mark.parametrize(
    ("url", "wants_tls"),
    [
        ("nats://mytls:pw@one", False),
        ("nats://mywss:tls@one,ws://mywss:tls@two", False),
        ("nats://one,tls://two", True),
        ("wss://one", True),
    ],
)
def test_tls_is_wanted_by_a_scheme_alone(url: str, wants_tls: bool) -> None:
    assert _nats_server.Address(url, None, None).wants_tls == wants_tls


async def refused(url: str, text: str, **options: Any) -> None:
    with pytest.raises(BackplaneRefused, match=text) as raised:
        async with opened(url, **options) as (stream, _, _):
            await stream.publish("aa", items(1, 2))
    assert "secret" not in str(raised.value)


async def test_authentication_refused(tmp_path: Path) -> None:
    with nats_server(tmp_path, "--user", "anna", "--pass", "right") as server:
        place = f"127.0.0.1:{server.port}"
        await refused(server.url, f"nats://{place} refuses the user, the password or the token")
        await refused(f"nats://anna:secret@{place}", "refuses the user, the password or the token")
        async with opened(f"nats://anna:right@{place}") as (stream, _, _):
            await stream.publish("aa", items(1, 2))


async def test_a_password_that_is_encoded(tmp_path: Path) -> None:
    for number, options in enumerate([("--user", "an/na", "--pass", "se/cr?t#@%41"), ("--auth", "to/k@n%41")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        with nats_server(folder, *options) as server:
            names = ":".join(quote(each, safe="") for each in options[1::2])
            async with opened(f"nats://{names}@127.0.0.1:{server.port}") as (stream, _, _):
                await stream.publish("aa", items(1, 2))


def configured(folder: Path, text: str) -> list[str]:
    (folder / "nats.conf").write_text(text)
    return ["--config", "nats.conf"]


async def test_credentials_in_a_file(tmp_path: Path) -> None:
    realm = Realm()
    known, stranger = realm.credentials(tmp_path / "known.creds"), Realm().credentials(tmp_path / "stranger.creds")
    with nats_server(tmp_path, *configured(tmp_path, realm.configuration)) as server:
        await refused(server.url, "refuses the user, the password or the token")
        await refused(server.url, "refuses the user, the password or the token", credentials=stranger)
        async with opened(server.url, credentials=known) as (stream, _, start):
            await stream.publish("aa", items(1, 2))
            assert await stream.last() != start


async def test_credentials_that_are_none(tmp_path: Path, server: Engine) -> None:
    path = tmp_path / "user.creds"
    missing = re.escape(f"the credentials in '{path}' cannot be used: ")
    await refused(server.url, f"{missing}.*No such file", credentials=str(path))
    Realm().credentials(path)
    text = path.read_text()
    for wrong in ("", "\xff", text.partition("-----BEGIN USER")[0], text.replace("NATS USER", "USER")):
        path.write_text(wrong, "latin-1")
        await refused(server.url, missing, credentials=str(path))
    path.write_text(text.replace("\nSU", "\nUS"))
    await refused(server.url, f"{missing}nkeys: invalid seed", credentials=str(path))
    path.write_text(text)
    async with opened(server.url, credentials=str(path)):  # this server asks for none
        pass


async def test_a_user_who_may_not(tmp_path: Path) -> None:
    user = '{user: anna, password: secret, permissions: {publish: {deny: "news"}}}'
    with nats_server(tmp_path, *configured(tmp_path, f"authorization: {{users: [{user}]}}")) as server:
        url = f"nats://anna:secret@127.0.0.1:{server.port}"
        async with opened(url, "other") as (other, _, _), opened(url) as (stream, _, _):
            connection = await stream._share.server.connected()
            for _ in range(2):
                start = time.monotonic()
                with pytest.raises(BackplaneRefused, match='permissions violation for publish to "news"'):
                    await stream.publish("aa", items(1, 100))
                assert time.monotonic() - start < _nats_server.PATIENCE
                await other.publish("aa", items(1, 2))
            # The others go on over it, and it is not why one of them may have no answer.
            assert connection is await other._share.server.connected()
            assert other._share.server._complaint is None


@pytest.mark.parametrize(
    "permissions",
    ['publish: {deny: "$JS.API.CONSUMER.CREATE.news.>"}', 'subscribe: {deny: "_INBOX.>"}'],
)
async def test_what_is_not_permitted_is_the_same_text_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, permissions: str
) -> None:
    """It is logged once: a consumer's name and an inbox are others at each try."""
    monkeypatch.setattr(_nats_server, "PATIENCE", 1.0)
    user = f"{{user: anna, password: secret, permissions: {{{permissions}}}}}"
    texts = set()
    with nats_server(tmp_path, *configured(tmp_path, f"authorization: {{users: [{user}]}}")) as server:
        for _ in range(2):
            with pytest.raises(BackplaneRefused, match="permissions violation") as raised:
                async with opened(f"nats://anna:secret@127.0.0.1:{server.port}") as (stream, epoch, _):
                    connection = await stream._share.server.connected()
                    await connection.publish("news", [({}, b"foreign")])
                    await stream.page(epoch, "a" * 13, 9)
            texts.add(str(raised.value))
    assert len(texts) == 1


async def test_the_end_of_the_connection_wakes_all_who_wait(server: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the time of some was over, who are not through with that."""
    async with opened(server.url) as (stream, _, _):
        shared = stream._share.server
        may_end, over, inside = asyncio.Event(), asyncio.Semaphore(0), asyncio.Semaphore(0)

        async def late() -> None:
            async with shared.asked("news"):
                try:
                    await asyncio.sleep(60)
                finally:
                    over.release()
                    await may_end.wait()

        async def wait() -> None:
            async with shared.asked("news"):
                inside.release()
                await asyncio.sleep(60)

        with monkeypatch.context() as patched:
            patched.setattr(_nats_server, "PATIENCE", 0.1)
            late_ones = [asyncio.create_task(late()) for _ in range(10)]
            for _ in late_ones:
                await over.acquire()
        others = [asyncio.create_task(wait()) for _ in range(10)]
        for _ in others:
            await inside.acquire()
        start = time.monotonic()
        server.kill()
        ends = await asyncio.gather(*others, return_exceptions=True)
        assert {type(end) for end in ends} == {BackplaneError}
        assert time.monotonic() - start < _nats_server.PATIENCE - 1
        may_end.set()
        ends = await asyncio.gather(*late_ones, return_exceptions=True)
        assert {type(end) for end in ends} == {BackplaneError}


async def test_a_page_behind_more_foreign_messages_than_are_read_in_time(
    server: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read has its own time, and where there is nothing of ours it asks for more."""
    monkeypatch.setattr(_nats_server, "PATIENCE", 2.0)
    read, asked = engine.read, []

    async def slow(connection: Any, stream: str, sequence: int, number: int) -> Any:
        asked.append(number)
        await asyncio.sleep(0.6)
        return await read(connection, stream, sequence, number)

    monkeypatch.setattr(engine, "read", slow)
    async with opened(server.url) as (stream, epoch, start):
        connection = await stream._share.server.connected()
        await connection.publish("news", [({}, b"foreign")] * 3500)
        await stream.publish("aa", items(1, 20))
        page = await stream.page(epoch, start, 5)
        assert [entry.data.decode() for entry in page.entries] == numbers(1, 5) and not page.is_last
        assert asked == [5, 1000, 1000, 1000, 1000]
        page = await stream.page(epoch, page.entries[-1].position, 15)
        assert [entry.data.decode() for entry in page.entries] == numbers(6, 20) and page.is_last


async def test_tls_refused(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    with nats_server(tmp_path, "--tls", "--tlscert", "chain.pem", "--tlskey", "key.pem") as server:
        await refused(server.url, "no TLS connection: .*certificate verify failed")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        async with opened(server.url, tls=context) as (stream, epoch, start):
            await stream.publish("aa", items(1, 2))
            assert len((await stream.page(epoch, start, 9)).entries) == 2


async def test_a_server_without_tls_that_was_to_have_it(server: Engine) -> None:
    await refused(server.url.replace("nats:", "tls:"), "no TLS connection")


async def test_a_server_without_jetstream(tmp_path: Path) -> None:
    with nats_server(tmp_path, "--jetstream=false") as server:
        await refused(server.url, "has no JetStream")


async def test_a_stream_that_keeps_nothing(server: Engine) -> None:
    async with direct(server) as js:
        await js.add_stream(StreamConfig("news", subjects=["news"], retention=RetentionPolicy.WORK_QUEUE))
    await refused(server.url, "the stream 'news' has the retention workqueue, not limits")


async def test_a_stream_without_a_subject_to_publish_to(server: Engine) -> None:
    async with direct(server) as js:
        await js.add_stream(StreamConfig("news", subjects=["news.>", "old.*"]))
    await refused(server.url, "has no subject without a wildcard")


@pytest.mark.parametrize(
    ("subjects", "limits", "text"),
    [
        (["news", "other"], {"max_msgs_per_subject": 10}, "has several subjects, and a limit or rollup for each"),
        (["news", "more.>"], {"max_msgs_per_subject": 10}, "has several subjects, and a limit or rollup for each"),
        (["news", "other"], {"allow_rollup_hdrs": True}, "has several subjects, and a limit or rollup for each"),
    ],
)
async def test_a_stream_that_loses_messages_in_its_middle(
    server: Engine, subjects: list[str], limits: dict[str, Any], text: str
) -> None:
    async with direct(server) as js:
        await js.add_stream(StreamConfig("news", subjects=subjects, **limits))
    await refused(server.url, text)


async def test_a_limit_for_the_one_subject(server: Engine) -> None:
    async with direct(server) as js:
        await js.add_stream(StreamConfig("news", subjects=["news"], max_msgs_per_subject=10))
    async with opened(server.url) as (stream, epoch, start):
        await stream.publish("aa", items(1, 11))
        assert not await stream.covers(epoch, start)


async def test_a_stream_that_takes_no_more(server: Engine) -> None:
    async with direct(server) as js:
        await js.add_stream(StreamConfig("news", subjects=["news"], max_msgs=1, discard="new"))
    await refused(server.url, "refuses: maximum messages exceeded")


async def test_a_stream_of_somebody_else_with_other_subjects(server: Engine) -> None:
    async with direct(server) as js:
        await js.add_stream(StreamConfig("news", subjects=["all.>", "app.news"]))
        await js.publish("all.x", b"update\ndata", headers={"Nats-Msg-Id": "of somebody else"})
        async with opened(server.url) as (stream, epoch, _):
            follower = Follower(stream, epoch, "a" * 13)
            await stream.publish("aa", items(1, 2))
            assert await follower.has(2) == numbers(1, 2)
            assert stream.foreign == 1
            await follower.stop()


async def test_what_is_larger_than_the_server_takes(tmp_path: Path) -> None:
    with nats_server(tmp_path, *configured(tmp_path, "max_payload: 10000")) as server:
        async with opened(server.url) as (stream, epoch, start):
            with pytest.raises(EntryTooLarge) as raised:
                await stream.publish("aa", [Item(1, "update", b""), Item(2, "update", b"x" * 10_000)])
            assert raised.value.counter == 2
            assert (await stream.page(epoch, start, 9)).entries == []
            await stream.publish("aa", [Item(1, "update", b""), Item(3, "update", b"x" * 9_700)])
            assert len((await stream.page(epoch, start, 9)).entries) == 2


async def test_what_is_larger_than_the_stream_takes(server: Engine) -> None:
    async with direct(server) as js:
        await js.add_stream(StreamConfig("news", subjects=["news"], max_msg_size=1000))
    async with opened(server.url) as (stream, epoch, start):
        with pytest.raises(EntryTooLarge):
            await stream.publish("aa", [Item(1, "update", b""), Item(2, "update", b"x" * 1000)])
        assert (await stream.page(epoch, start, 9)).entries == []


async def test_a_retry_after_the_window_reads_back_what_is_there(server: Engine) -> None:
    """The server has forgotten the messages' ids; we look into the stream."""
    async with direct(server) as js:
        await js.add_stream(StreamConfig("news", subjects=["news"], duplicate_window=0.1))
        async with proxy(server) as between, opened(between.url) as (stream, epoch, start):
            await stream.publish("aa", items(1, 3))
            await stream.publish("bb", items(1, 600))
            between.back.clear()
            with pytest.raises(BackplaneError):
                await stream.publish("aa", items(4, 9))
            between.back.set()
            await stream.open()
            assert (await js.stream_info("news")).state.messages == 609
            await asyncio.sleep(0.3)  # the window
            await stream.publish("aa", items(4, 12))
            await stream.publish("aa", items(13, 13))
            page = (await stream.page(epoch, start, 2000)).entries
            data = [entry.data.decode() for entry in page]
            assert data == [*numbers(1, 3), *numbers(1, 600), *numbers(4, 13)]


async def test_a_retry_after_the_window_in_a_stream_that_was_made_anew(server: Engine) -> None:
    """Its numbers begin anew too."""
    async with direct(server) as js, opened(server.url) as (stream, _, _):
        await stream.publish("aa", items(1, 50))
        await js.delete_stream("news")
        await js.add_stream(StreamConfig("news", subjects=["news"], duplicate_window=0.1))
        epoch = await stream.epoch()
        connection = await stream._share.server.connected()

        async def unanswered(*arguments: Any) -> int:
            await type(connection).publish(connection, *arguments)
            raise ConnectionError

        connection.publish = unanswered
        with pytest.raises(BackplaneError):
            await stream.publish("aa", items(51, 51))
        del connection.publish
        await asyncio.sleep(0.3)  # the window
        await stream.publish("aa", items(51, 51))
        assert [entry.data for entry in (await stream.page(epoch, "a" * 13, 9)).entries] == [b"51"]


async def test_what_was_refused_of_a_batch_is_added_after_the_window(server: Engine) -> None:
    """Those behind it are there by then."""
    limits = {"subjects": ["news"], "discard": DiscardPolicy.NEW, "duplicate_window": 0.1}
    async with direct(server) as js:
        await js.add_stream(StreamConfig("news", max_bytes=20_000, **limits))
        async with opened(server.url) as (stream, epoch, start):
            batch = [Item(1, "update", b"first"), Item(2, "update", b"x" * 30_000), Item(3, "update", b"third")]
            with pytest.raises(BackplaneRefused, match="maximum bytes exceeded"):
                await stream.publish("aa", batch)
            await js.update_stream(StreamConfig("news", max_bytes=200_000, **limits))
            await asyncio.sleep(0.3)  # the window
            await stream.publish("aa", batch)
            assert [entry.data for entry in (await stream.page(epoch, start, 9)).entries] == [
                b"first",
                b"third",
                b"x" * 30_000,
            ]


async def test_a_message_deleted_by_hand_is_no_gap(server: Engine) -> None:
    async with direct(server) as js, opened(server.url) as (stream, epoch, start):
        await stream.publish("aa", items(1, 5))
        await js.delete_msg("news", 3)
        follower = Follower(stream, epoch, start)
        assert await follower.has(4) == ["1", "2", "4", "5"]
        assert (await stream.page(epoch, start, 9)).entries == follower.entries
        await follower.stop()


async def test_where_the_last_message_was_deleted_by_hand_the_stream_ends(server: Engine) -> None:
    async with direct(server) as js, opened(server.url) as (stream, epoch, start):
        await stream.publish("aa", items(1, 3))
        page = await stream.page(epoch, start, 9)
        await js.delete_msg("news", 3)
        assert await stream.page(epoch, page.entries[1].position, 9) == Page([], True)


async def test_a_consumer_that_lags_behind_is_not_believed(server: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a cluster it may be on a server that has not got the last messages yet: as if the stream ended there."""

    async def lags(*_: Any) -> tuple[list[Any], bool]:
        return [], True

    async with direct(server) as js:
        await js.add_stream(StreamConfig("news", subjects=["news"], duplicate_window=0.1))
        async with opened(server.url) as (stream, epoch, start):
            await stream.publish("aa", items(1, 1))
            connection = await stream._share.server.connected()

            async def unanswered(*arguments: Any) -> int:
                await type(connection).publish(connection, *arguments)
                raise ConnectionError

            monkeypatch.setattr(connection, "publish", unanswered)
            with pytest.raises(BackplaneError):
                await stream.publish("aa", items(2, 2))
            await asyncio.sleep(0.3)  # the window
            monkeypatch.undo()
            for module in (engine, _nats_publisher):
                monkeypatch.setattr(module, "read", lags)
            with pytest.raises(BackplaneError, match="no messages behind 0 yet"):
                await stream.page(epoch, start, 9)
            assert await stream.page(epoch, await stream.last(), 9) == Page([], True)
            with pytest.raises(BackplaneError, match="no messages behind 1 yet"):
                await stream.publish("aa", items(2, 2))
            await js.purge_stream("news", keep=1)
            with pytest.raises(BackplaneError, match="no messages behind 1 yet"):
                await stream.publish("aa", items(2, 2))
            await js.purge_stream("news")  # now it does end there
            await stream.publish("aa", items(3, 4))
            monkeypatch.undo()
            assert [entry.data for entry in (await stream.page(epoch, encoded(2, 13), 9)).entries] == [b"3", b"4"]


async def test_streams_of_a_server_share_a_connection(tmp_path: Path) -> None:
    with reserve_port() as holder:
        monitor = holder.getsockname()[1]
        with nats_server(tmp_path, "--http_port", str(monitor)) as server:

            async def connections() -> int:
                url = f"http://127.0.0.1:{monitor}/connz"
                text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read())
                return json.loads(text)["num_connections"]

            async with contextlib.AsyncExitStack() as stack:
                followers = []
                for number in range(5):
                    stream, epoch, start = await stack.enter_async_context(opened(server.url, f"news{number}"))
                    followers.append(Follower(stream, epoch, start))
                    await stream.publish("aa", items(1, 1))
                    await stream.page(epoch, start, 1)
                for follower in followers:
                    await follower.has(1)
                    await follower.stop()
                assert await connections() == 1
            while await connections():
                await asyncio.sleep(0.01)


async def test_readers_leave_no_consumers_behind(server: Engine) -> None:
    async with direct(server) as js, opened(server.url) as (stream, epoch, start):
        await stream.publish("aa", items(1, 100))
        pages = await asyncio.gather(*(stream.page(epoch, start, 50) for _ in range(20)))
        assert {len(page.entries) for page in pages} == {50}
        assert (await js.stream_info("news")).state.consumer_count == 0


async def test_a_stream_that_lived_in_memory_is_another_after_a_restart(server: Engine) -> None:
    async with direct(server) as js:
        await js.add_stream(StreamConfig("news", subjects=["news"], storage="memory"))
    async with opened(server.url) as (stream, epoch, start):
        await stream.publish("aa", items(1, 3))
        server.kill()
        with pytest.raises(BackplaneError):
            await stream.last()
        server.start()
        await stream.open()
        assert await stream.epoch() != epoch
        with pytest.raises(PositionLost):
            await stream.page(epoch, start, 9)


@pytest.mark.parametrize("is_lost", [True, False])
async def test_a_stream_that_has_lost_its_end_and_was_filled_again_is_another(
    server: Engine, tmp_path: Path, is_lost: bool
) -> None:
    """Beyond what its follower has seen, so that only the message there tells."""
    async with opened(server.url) as (stream, epoch, start):
        await stream.publish("aa", items(1, 3))
        follower = Follower(stream, epoch, start)
        await follower.has(3)
        server.kill()
        shutil.copytree(tmp_path / "data", tmp_path / "older")
        assert isinstance(await follower.error(), BackplaneError)
        server.start()
        await stream.open()
        seen = follower.entries[-1].position
        follower = Follower(stream, epoch, seen)  # nothing was lost: it goes on
        await stream.publish("aa", items(4, 5))
        assert await follower.has(2) == ["4", "5"]
        seen = follower.entries[-1].position
        server.kill()
        if is_lost:
            shutil.rmtree(tmp_path / "data")
            (tmp_path / "older").rename(tmp_path / "data")
        assert isinstance(await follower.error(), BackplaneError)
        server.start()
        async with opened(server.url) as (other, _, _):
            await other.publish("bb", items(4, 9))
            await stream.open()
            assert await stream.epoch() == epoch and await stream.covers(epoch, seen)
            follower = Follower(stream, epoch, seen)
            if is_lost:
                assert isinstance(await follower.error(), PositionLost)
                assert await stream.epoch() == await other.epoch() != epoch
            else:
                assert await follower.has(6) == numbers(4, 9)
                await follower.stop()
