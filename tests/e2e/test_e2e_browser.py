"""EventSource as a browser has it, on the streams of real servers: what a page hears, and when it is a client."""

import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from browser import chromium
from client import LIMIT
from servers import GRANIAN, SERVE, UVICORN, Kind, Server, reserve_port, running

with contextlib.suppress(ImportError):  # chromium() tells
    from playwright.async_api import BrowserContext, Page
    from playwright.async_api import TimeoutError as Timeout

pytestmark = pytest.mark.e2e

APP = "blank_page"
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
# The path says who answers: fastware, or EventStream without a framework.
WAYS = [
    pytest.param(SERVE, "/events", id="serve"),
    pytest.param(GRANIAN, "/stream", id="granian"),
    pytest.param(UVICORN, "/events", id="uvicorn"),
]
on_each_way = pytest.mark.parametrize(("kind", "path"), WAYS)

# What stands in the log of a page: the event that a listener was added for, and what it was given.
OPEN = ["open", 1]  # the readyState, of the two events that carry no data
LOST = ["error", 0]
LISTEN = """([path, types]) => {
  window.log = [];
  window.source = new EventSource(path);
  for (const type of ["open", "error", ...types]) {
    source.addEventListener(type, (event) => log.push([type, event.data ?? source.readyState]));
  }
}"""


class Tab:
    """A page, and the log of its EventSource."""

    def __init__(self, page: "Page") -> None:
        self.page = page

    async def listen(self, path: str, *types: str) -> None:
        """Open an EventSource with listeners for `types`, and for open and error."""
        await self.page.evaluate(LISTEN, [path, types])

    async def log(self) -> list[list[Any]]:
        return await self.page.evaluate("log")

    async def heard(self, *expected: list[Any]) -> None:
        """Wait until the log is as long as `expected`; it must then be the same."""
        with contextlib.suppress(Timeout):  # the comparison says what is missing
            await self.page.wait_for_function("length => log.length >= length", arg=len(expected))
        assert await self.log() == list(expected)

    async def until(self, condition: str) -> None:
        await self.page.wait_for_function(condition)


class Site(NamedTuple):
    server: Server
    context: "BrowserContext"

    async def tab(self) -> Tab:
        """A new tab with the blank page, which is no client yet."""
        page = await self.context.new_page()
        await page.goto(f"http://127.0.0.1:{self.server.port}/")
        return Tab(page)

    async def broadcast(self, *events: list[Any]) -> None:
        """All in one go: no client has a turn before the last one is sent."""
        await self.server.request("POST", "/broadcast", events)

    async def listening_tab(self, path: str, *types: str) -> Tab:
        """The only client, whose page may not have heard of it yet."""
        tab = await self.tab()
        await tab.listen(path, *types)
        await self.server.has_clients(1)
        return tab


def options(**keywords: Any) -> dict[str, str]:
    return {"BROADCASTER": json.dumps({"retry": 0.1} | keywords)}


@contextlib.asynccontextmanager
async def site(kind: Kind, **keywords: Any) -> AsyncIterator[Site]:
    """The application with such a Broadcaster, and a browser that has not opened it yet."""
    async with context() as tabs, running(kind, APP, **options(**keywords)) as server:
        yield Site(server, tabs)


@contextlib.asynccontextmanager
async def context() -> AsyncIterator["BrowserContext"]:
    """What the tabs of one window share: its connections above all."""
    async with chromium() as browser:
        tabs = await browser.new_context()
        tabs.set_default_timeout(LIMIT * 1000)
        yield tabs


# ---- events ----


@on_each_way
async def test_a_listener_gets_the_events_of_its_type_as_they_were_sent(kind: Kind, path: str) -> None:
    texts = [
        "",
        " two spaces, and two colons:  : ",
        "one\ntwo\n\nfour\n",
        "tea \N{HOT BEVERAGE}, \U0001f375, e\u0301, \u2028 and \x85 are no ends of lines, \ufeff is no mark",
        "event: forged\n\ndata: nothing of it",
        "x" * 100_000,
    ]
    events = [
        *(["update", text] for text in texts),
        ["\u00e9tat: \U0001f375", "an event's name"],
        ["unheard", "by anybody"],
        ["message", "without a type of its own"],
        ["update", "CR\rand CRLF\r\nend lines too"],
    ]
    value = {"text": 'a "quoted"\nline', "numbers": [1, 2.5, None, True], "\u00fc": {}}
    json_text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    async with site(kind) as here:
        tab = await here.listening_tab(path, "update", "\u00e9tat: \U0001f375", "message", "json")
        await here.broadcast(*events, ["json", value])
        heard = [event for event in events[:-1] if event[0] != "unheard"]
        await tab.heard(OPEN, *heard, ["update", "CR\nand CRLF\nend lines too"], ["json", json_text])


@on_each_way
async def test_heartbeats_are_nothing_to_the_page(kind: Kind, path: str) -> None:
    async with site(kind, heartbeat_interval=0.02) as here:
        tab = await here.listening_tab(path, "message", "heartbeat")
        witness = await here.server.stream(path)  # the page was there first, so it is served first
        await witness.until(lambda: witness.body.count(b": heartbeat\n\n") >= 20)
        await here.broadcast(["message", "after the heartbeats"])
        await tab.heard(OPEN, ["message", "after the heartbeats"])


async def test_the_error_listener_of_the_readme() -> None:
    """It hears the server's events called `error`, and lets the browser's own pass. `open` is such a name too."""
    (snippet,) = re.findall(r'^```js\n(source\.addEventListener\("error".*?)^```$', README, re.MULTILINE | re.DOTALL)
    async with site(SERVE, buffer_size=8) as here:
        tab = await here.listening_tab("/events", "message")
        said: list[str] = []
        tab.page.on("console", lambda message: said.append(message.text))
        tab.page.on("pageerror", lambda error: said.append(f"raised {error}"))
        await tab.page.add_script_tag(content=snippet)
        events = [["error", '"first"'], ["open", "door"], ["message", "still open"]]
        await here.broadcast(*events)
        await tab.heard(OPEN, *events)
        await here.broadcast(*[["other", ""]] * 9)  # prunes it
        await tab.heard(OPEN, *events, LOST, OPEN)
        await here.server.has_clients(1)
        await here.broadcast(["error", '"second"'])
        await tab.heard(OPEN, *events, LOST, OPEN, ["error", '"second"'])
        assert said == ["from the server: first", "from the server: second"]


# ---- the stream ends, and EventSource comes back by itself ----


@on_each_way
async def test_a_pruned_page_gets_what_was_kept_and_comes_back(kind: Kind, path: str) -> None:
    async with site(kind, buffer_size=8) as here:
        tab = await here.listening_tab(path, "message")
        burst = [["message", str(number)] for number in range(20)]
        await here.broadcast(*burst)
        await here.server.has_clients(1)
        await here.broadcast(["message", "later"])
        await tab.heard(OPEN, *burst[:8], LOST, OPEN, ["message", "later"])


async def test_a_page_waits_as_long_as_retry_says() -> None:
    retry = 3.5  # what a browser does without it is 3 s in this one
    async with site(SERVE, buffer_size=1, retry=retry) as here:
        tab = await here.listening_tab("/events")
        await tab.page.evaluate(
            "for (const type of ['error', 'open'])"
            " source.addEventListener(type, () => window[`${type}Time`] = performance.now())"
        )
        await here.broadcast(["message", ""], ["message", ""])
        await tab.heard(OPEN, LOST, OPEN)
        assert await tab.page.evaluate("openTime - errorTime") >= retry * 1000 - 50


@pytest.mark.parametrize("stop", [Server.kill, Server.terminate], ids=["killed", "sigterm"])
@on_each_way
async def test_a_page_survives_a_restart_of_the_server(kind: Kind, path: str, stop: Callable[[Server], Any]) -> None:
    async with context() as tabs:
        with reserve_port() as holder:
            port = holder.getsockname()[1]
            async with running(kind, APP, port, **options()) as server:
                here = Site(server, tabs)
                tab = await here.listening_tab(path, "message")
                await here.broadcast(["message", "before"])
                await tab.heard(OPEN, ["message", "before"])
                stopping = stop(server)
                await (stopping or server.exit_code())
            # Refused, again and again: nobody listens on the port, which is still ours. A page that was back before the
            # port was closed has been let in and sent away once more.
            await tab.until("log.slice(-3).every(([type]) => type === 'error')")
            down = await tab.log()
            assert down[:3] == [OPEN, ["message", "before"], LOST]
            assert all(entry in (OPEN, LOST) for entry in down[3:])
            async with running(kind, APP, port, **options()) as server:
                await server.has_clients(1)
                await Site(server, tabs).broadcast(["message", "after"])
                await tab.until("log.at(-1)[1] === 'after'")
                up = (await tab.log())[len(down) :]
        assert up == [*[LOST] * (len(up) - 2), OPEN, ["message", "after"]]


async def test_after_close_a_page_comes_back_and_gets_nothing() -> None:
    async with site(SERVE) as here:
        tab = await here.listening_tab("/events", "message")
        await here.broadcast(["message", "owed"])
        await here.server.request("POST", "/close")
        await here.broadcast(["message", "too late"])
        await tab.until("log.length >= 7")
        assert (await tab.log())[:7] == [OPEN, ["message", "owed"], *[LOST, OPEN] * 2, LOST]


# ---- many tabs, and pages that leave ----


@on_each_way
async def test_six_tabs_get_everything_and_a_seventh_waits(kind: Kind, path: str) -> None:
    async with site(kind) as here:
        *tabs, seventh = [await here.tab() for _ in range(7)]
        for tab in tabs:
            await tab.listen(path, "message")
        await here.server.has_clients(6)
        await seventh.listen(path, "message")
        events = [["message", str(number)] for number in range(500)]
        for start in range(0, len(events), 100):
            await here.broadcast(*events[start : start + 100])
        for tab in tabs:
            await tab.heard(OPEN, *events)
        await here.server.has_clients(6)
        await seventh.heard()

        await tabs.pop().page.close()
        await seventh.heard(OPEN)
        tabs.append(seventh)
        while tabs:
            await tabs.pop().page.close()
            await here.server.has_clients(len(tabs))


@on_each_way
async def test_a_page_that_closes_its_source_or_goes_elsewhere_is_no_client(kind: Kind, path: str) -> None:
    async with site(kind) as here:
        tab = await here.listening_tab(path, "message")
        await tab.heard(OPEN)
        await tab.page.evaluate("source.close()")
        await here.server.has_clients(0)
        await here.broadcast(["message", "to nobody"])
        await tab.heard(OPEN)
        assert await tab.page.evaluate("source.readyState") == 2

        await tab.listen(path)
        await here.server.has_clients(1)
        await tab.page.goto("about:blank")
        await here.server.has_clients(0)
