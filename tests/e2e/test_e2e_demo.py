"""The demo in a real browser."""

import contextlib
import re
import urllib.request
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from browser import chromium
from servers import Kind, Server, running

with contextlib.suppress(ImportError):  # chromium() tells
    from playwright.async_api import Browser, Page, expect

DEMO = Kind("demo", ["-m", "fastware_sse", "--port", "{port}"])
PIXELS = "id => document.getElementById(id).toDataURL()"
PLOTS = ["plot-clients", "plot-deliveries", "plot-delay"]
NUMBER = re.compile(r"^[\d,.]+$")

pytestmark = pytest.mark.e2e


class Demo(NamedTuple):
    server: Server
    browser: "Browser"
    page: "Page"
    url: str
    complaints: list[str]  # the page's own: exceptions, and what its policy forbids


@contextlib.asynccontextmanager
async def demo() -> AsyncIterator[Demo]:
    """The demo's server, and a page that has connected to it."""
    complaints: list[str] = []
    async with chromium() as browser, running(DEMO) as server:
        page = await browser.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        url = f"http://127.0.0.1:{server.port}"
        await page.goto(url)
        await expect(page.locator("#state")).to_have_text("open")
        yield Demo(server, browser, page, url, complaints)


async def move(page: "Page", label: str, value: int) -> None:
    """Move a slider as a keyboard does: to the left end, then in steps."""
    slider = page.get_by_label(label)
    await slider.focus()
    await page.keyboard.press("Home")
    for _ in range(value // int(await slider.get_attribute("step") or 1)):
        await page.keyboard.press("ArrowRight")


async def test_every_file_that_the_page_names_is_there() -> None:
    async with demo() as (_, _, page, url, complaints):
        for name in ("/", "/page.css", "/page.js", "/plot.js", "/icon.svg"):
            with urllib.request.urlopen(url + name, timeout=10) as response:
                assert response.status == 200 and response.read()
        names = await page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert names and all(name.startswith(url) for name in names)
        assert await page.title() == "fastware_sse demo"
        assert not complaints


async def test_the_form_reaches_every_page() -> None:
    async with demo() as (_, browser, page, url, complaints):
        other = await browser.new_page()
        await other.goto(url)
        await expect(other.locator("#state")).to_have_text("open")
        text = 'tea & <b>"cake"</b> \N{HOT BEVERAGE}'
        await page.get_by_label("Text for everybody").fill(text)
        await page.keyboard.press("Enter")
        for each in (page, other):
            await expect(each.locator("li[data-type=message] code")).to_have_text(text)
        await expect(page.get_by_label("Text for everybody")).to_have_value("")
        await page.get_by_role("button", name="Broadcast the status").click()
        await expect(other.locator("li[data-type=status] code")).to_have_text('{"clients":2}')
        assert not complaints


async def test_the_sliders_make_load_and_the_plots_move() -> None:
    async with demo() as (server, browser, page, _, complaints):
        await expect(page.locator("#clients")).to_have_text("1")
        await move(page, "Synthetic clients", 100)
        await expect(page.locator("#clients")).to_have_text("101")
        await move(page, "Events per second", 10)
        await expect(page.locator("#deliveries")).to_have_text(re.compile(r"^1,[34]\d\d$"))  # 101 * (10 + 4)
        await expect(page.locator("#delay")).to_have_text(NUMBER)
        await expect(page.locator("li[data-type=load] span").first).to_have_text(re.compile(r"^[\d.]+ ms$"))
        for plot in PLOTS:
            before = await page.evaluate(PIXELS, plot)
            await page.wait_for_function(f"([id, before]) => ({PIXELS})(id) !== before", arg=[plot, before])
        await page.get_by_role("button", name="Stop").click()
        await expect(page.locator("#clients")).to_have_text("1")
        assert await page.get_by_label("Synthetic clients").input_value() == "0"
        assert not complaints


async def test_a_page_that_was_cut_off_reconnects_by_itself() -> None:
    async with demo() as (server, browser, page, _, complaints):
        for number in (1, 2):
            await page.get_by_role("button", name="Cut the connection").click()
            await expect(page.locator("#reconnects")).to_have_text(str(number))
            await expect(page.locator("#state")).to_have_text("open")
        await expect(page.locator("li[data-type=connection]")).to_have_count(4)  # twice lost, twice back
        await expect(page.locator("#clients")).to_have_text("1")
        assert not complaints


async def test_a_page_that_was_answered_with_an_error_tries_again() -> None:
    async with demo() as (_, _, page, _, _):
        await page.route("**/events*", lambda route: route.fulfill(status=502))
        await page.get_by_role("button", name="Cut the connection").click()
        await expect(page.locator("#state")).to_have_text("closed")
        await page.unroute("**/events*")
        await expect(page.locator("#state")).to_have_text("open")
        await expect(page.locator("#reconnects")).to_have_text("1")


async def test_nothing_is_wider_than_a_phone() -> None:
    async with demo() as (_, _, page, _, _):
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate("document.documentElement.scrollWidth") == 360


async def test_ctrl_c_stops_it_at_once_with_pages_open_and_load_running() -> None:
    async with demo() as (server, browser, page, _, _):
        await move(page, "Synthetic clients", 50)
        await move(page, "Events per second", 20)
        await expect(page.locator("#clients")).to_have_text("51")
        server.interrupt()
        assert await server.exit_code() == 0
        server.assert_no_complaint()
        await expect(page.locator("#state")).to_have_text("reconnecting")
