"""EventSource of a real browser comes back: the example's page goes on behind its last event, or is told of the gap."""

import contextlib
import json
import re

import pytest
from browser import chromium
from client import LIMIT
from servers import UVICORN, reserve_port, running

with contextlib.suppress(ImportError):  # chromium() tells
    from playwright.async_api import Browser, Page, Request, expect

pytestmark = pytest.mark.e2e

APP = "resume_dashboard"
ID = re.compile(r"[a-z2-7]{13}-[a-z2-7]{13}")
IN_THE_QUERY = "last_event_id="


class Dashboard:
    """The example's page, and what its browser has asked the server for."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.requests: list[Request] = []
        self._errors: list[Exception] = []
        page.set_default_timeout(LIMIT * 1000)
        page.on("request", lambda request: self.requests.append(request))
        page.on("pageerror", lambda error: self._errors.append(error))

    async def count(self, name: str) -> int:
        return int(await self.page.locator(f"#{name}").inner_text())

    async def shows(self, **counters: int) -> None:
        """Wait for these counters; then, and some updates later, all is well."""
        for name, number in counters.items():
            await expect(self.page.locator(f"#{name}")).to_have_text(str(number), timeout=LIMIT * 1000)
        await self.gets(3)
        assert {name: await self.count(name) for name in counters} == counters
        assert (await self.count("missing"), await self.count("duplicates"), self._errors) == (0, 0, [])

    async def gets(self, more: int) -> None:
        """Wait for so many more updates."""
        await self.page.wait_for_function(
            "number => Number(document.getElementById('updates').textContent) >= number",
            arg=await self.count("updates") + more,
        )

    async def press(self, button: str) -> None:
        await self.page.get_by_role("button", name=button).click()

    async def log(self) -> list[str]:
        """What the page says has happened, the oldest first."""
        return (await self.page.locator("#log li span").all_inner_texts())[::-1]

    async def was_at(self) -> str:
        """The last id that the page had when its latest stream ended."""
        return [match[0] for line in await self.log() if (match := ID.search(line))][-1]

    async def came_with(self) -> tuple[str | None, str | None]:
        """The ids in header and query of the latest request for a stream."""
        request = [request for request in self.requests if "/events" in request.url][-1]
        in_query = request.url.partition(IN_THE_QUERY)[2] or None
        return (await request.all_headers()).get("last-event-id"), in_query


async def dashboard(browser: "Browser", port: int) -> Dashboard:
    """A page that has connected for the first time."""
    board = Dashboard(await browser.new_page())
    await board.page.goto(f"http://127.0.0.1:{port}/")
    await board.shows(resumed=0, gaps=0, snapshots=1)
    assert await board.came_with() == (None, None)
    return board


async def test_a_page_that_was_cut_off_goes_on_behind_its_last_event() -> None:
    async with chromium() as browser, running(UVICORN, APP) as server:
        board = await dashboard(browser, server.port)
        for number in (1, 2, 3):
            await board.press("Cut the connection")
            await board.shows(resumed=number, gaps=0, snapshots=1)
            assert await board.came_with() == (await board.was_at(), None)
        server.assert_no_complaint()


async def test_a_page_is_told_once_of_a_restart() -> None:
    async with chromium() as browser:
        with reserve_port() as holder:
            port = holder.getsockname()[1]
            async with running(UVICORN, APP, port) as server:
                board = await dashboard(browser, port)
                server.terminate()
                await server.exit_code()
                server.assert_no_complaint()
            async with running(UVICORN, APP, port) as server:
                await board.shows(gaps=1, snapshots=2)
                resumed = await board.count("resumed")  # by the first server, if it had not closed its port yet
                assert await board.came_with() == (await board.was_at(), None)
                gap, snapshot = (await board.log())[-2:]
                assert "(epoch)" in gap and snapshot.startswith("snapshot")
                await board.press("Cut the connection")
                await board.shows(resumed=resumed + 1, gaps=1, snapshots=2)
                assert await board.came_with() == (await board.was_at(), None)


async def test_a_page_that_has_no_network_for_a_while_goes_on_when_it_has_one() -> None:
    async with chromium() as browser, running(UVICORN, APP) as server:
        other = await dashboard(browser, server.port)
        board = await dashboard(browser, server.port)
        await board.page.context.set_offline(True)  # this browser then refuses new connections, and keeps old ones
        await other.press("Cut the connection")
        await other.shows(resumed=1, gaps=0, snapshots=1)
        await expect(board.page.locator("#state")).to_have_text("reconnecting")
        await board.page.context.set_offline(False)
        await board.shows(resumed=1, gaps=0, snapshots=1)
        assert await board.came_with() == (await board.was_at(), None)


async def test_a_new_event_source_comes_with_its_id_in_the_query_and_later_with_a_newer_one_in_the_header() -> None:
    async with chromium() as browser, running(UVICORN, APP) as server:
        other = await dashboard(browser, server.port)
        board = await dashboard(browser, server.port)
        await board.press("Go offline")
        await other.gets(10)
        await board.press("Go online")
        await board.shows(resumed=1, gaps=0, snapshots=1)
        left_at = await board.was_at()
        assert await board.came_with() == (None, left_at)
        await board.press("Cut the connection")
        await board.shows(resumed=2, gaps=0, snapshots=1)
        assert await board.came_with() == (await board.was_at(), left_at)
        assert await board.was_at() != left_at


async def test_a_page_of_another_origin_that_was_pruned_gets_the_rest() -> None:
    """And its browser asks for no permission first (a CORS preflight), which an EventStream would refuse."""
    options = {
        "BROADCASTER": json.dumps({"buffer_size": 8, "history": 100, "retry": 0.1}),
        "EVENT_STREAM": json.dumps({"headers": [["access-control-allow-origin", "*"]]}),
    }
    async with chromium() as browser, running(UVICORN, "asgi_knobs", **options) as server:
        board = Dashboard(await browser.new_page())
        await board.page.evaluate(
            """url => {
              window.log = [];
              const source = new EventSource(url);
              for (const type of ["open", "message", "gap"]) {
                source.addEventListener(type, ({ data }) => log.push(data ?? type));
              }
            }""",
            f"http://127.0.0.1:{server.port}/events",
        )
        await board.page.wait_for_function("log.length === 1")
        await server.has_clients(1)
        texts = [str(number) for number in range(30)]
        await server.request("POST", "/burst", {"texts": texts})
        await board.page.wait_for_function("log.at(-1) === '29'")
        assert await board.page.evaluate("log") == ["open", *texts[:8], "open", *texts[8:]]
        assert [request.method for request in board.requests] == ["GET", "GET"]


async def test_the_page_notices_what_is_missing_and_what_comes_twice() -> None:
    async with chromium() as browser, running(UVICORN, APP) as server:
        blocks = [("snapshot", {"number": 10, "prices": {"Tea": 1}})]
        blocks += [("price", {"number": number, "symbol": "Tea", "price": number}) for number in (8, 9, 10, 11, 13, 13)]
        blocks += [
            ("snapshot", {"number": 20, "prices": {"Tea": 1}}),
            ("price", {"number": 25, "symbol": "Tea", "price": 25}),
        ]
        body = "retry: 1000000\n\n" + "".join(f"event: {event}\ndata: {json.dumps(data)}\n\n" for event, data in blocks)
        board = Dashboard(await browser.new_page())
        await board.page.route("**/events", lambda route: route.fulfill(content_type="text/event-stream", body=body))
        await board.page.goto(f"http://127.0.0.1:{server.port}/")
        await expect(board.page.locator("#updates")).to_have_text("7")
        names = ("missing", "duplicates", "snapshots", "gaps", "resumed")
        assert [await board.count(name) for name in names] == [1 + 4, 1, 2, 0, 0]
        assert await board.page.locator("#prices p").inner_text() == "25.00"


async def test_the_page_needs_nothing_from_elsewhere_and_fits_on_a_phone() -> None:
    async with chromium() as browser, running(UVICORN, APP) as server:
        board = await dashboard(browser, server.port)
        assert {request.url.split("/")[2] for request in board.requests} == {f"127.0.0.1:{server.port}"}
        await board.page.set_viewport_size({"width": 360, "height": 740})
        assert await board.page.evaluate("document.documentElement.scrollWidth") == 360
