"""The demo: its routes, its files, and the load that it makes and ends again."""

import asyncio
import re
from pathlib import Path

import pytest
from fastware import StreamResponse
from fastware.testing import AsyncTestClient
from support import run_python

import fastware_sse.demo
from fastware_sse import Broadcaster, sse_route
from fastware_sse.demo import audience as audience_module
from fastware_sse.demo.app import app
from fastware_sse.demo.audience import Audience

DEMO = Path(fastware_sse.demo.__file__).parent
FILES = {
    "/": "page.html",
    "/page.css": "page.css",
    "/page.js": "page.js",
    "/plot.js": "plot.js",
    "/icon.svg": "icon.svg",
}


def test_it_is_the_documented_example_whatever_the_folder(tmp_path: Path) -> None:
    run_python(f"""
import asyncio, os
os.chdir({str(tmp_path)!r})
from fastware.testing import AsyncTestClient
from fastware_sse.demo.app import app, broadcaster

async def main():
    async with AsyncTestClient(app) as client:
        stream = asyncio.create_task(client.get("/events"))
        while broadcaster.client_count == 0:
            await asyncio.sleep(0.001)
        assert (await client.post("/send", json={{"text": "hello"}})).json() == {{"sent": True}}
        assert (await client.get("/status")).json() == {{"clients": 1}}
        broadcaster.close()
        text = (await stream).text
        assert 'event: message\\ndata: {{"text":"hello"}}\\n\\n' in text, text
        assert 'event: status\\ndata: {{"clients":1}}\\n\\n' in text, text

asyncio.run(main())
""")


@pytest.mark.parametrize("path", FILES)
async def test_its_files_are_served_under_a_strict_policy(path: str) -> None:
    async with AsyncTestClient(app) as client:
        response = await client.get(path)
    assert response.content == (DEMO / FILES[path]).read_bytes()
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy


def test_its_files_need_nothing_from_elsewhere() -> None:
    for name in FILES.values():
        text = (DEMO / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://(?!127\.0\.0\.1)|url\(|@import", text), name
    page = (DEMO / "page.html").read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="([^"#]+)"', page)) <= set(FILES)


def test_no_file_of_the_package_is_left_unserved() -> None:
    assert {path.name for path in DEMO.iterdir() if path.suffix not in (".py", "")} == set(FILES.values())


@pytest.mark.parametrize(
    "load", [{"clients": 501, "rate": 0}, {"clients": -1, "rate": 0}, {"clients": 0, "rate": 101}, {}]
)
async def test_load_out_of_bounds_is_refused(load: dict[str, int]) -> None:
    async with AsyncTestClient(app) as client:
        assert (await client.post("/load", json=load)).status_code == 422


class Browser:
    """A stream of the demo's route, read in a task."""

    def __init__(self, audience: Audience, page: str | None = None) -> None:
        self.text = ""
        self._audience = audience
        self._page = page
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        response: StreamResponse = await sse_route(self._audience._broadcaster)(None)  # type: ignore[arg-type]
        async for chunk in self._audience.watch(response, self._page).generator:
            self.text += chunk

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def until(self, part: str) -> None:
        async with asyncio.timeout(10):
            while part not in self.text:
                await asyncio.sleep(0.005)


@pytest.fixture
def audience() -> Audience:
    return Audience(Broadcaster())


async def test_the_load_follows_what_is_asked_for(audience: Audience) -> None:
    browser = Browser(audience)
    for clients in (500, 20, 21, 0, 3):
        audience.set_load(clients, 100)
        await browser.until(f'"clients":{clients + 1},"synthetic":{clients},"rate":100')
    await browser.until('event: load\ndata: {"number":20,')
    assert audience.delivered > 20
    audience.set_load(0, 0)
    await browser.until('"rate":0')
    await browser.leave()
    await audience.stop()


async def test_the_load_ends_when_the_last_browser_has_gone(
    audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience_module, "GRACE", 0.3)
    browsers = [Browser(audience), Browser(audience)]
    audience.set_load(10, 50)
    for browser in browsers:
        await browser.until('"clients":12')
    await browsers[0].leave()
    await asyncio.sleep(0.6)
    assert (audience.synthetic, audience.rate) == (10, 50)
    await browsers[1].leave()
    async with asyncio.timeout(10):
        while audience.synthetic or len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)
    assert audience.rate == 0
    assert audience._broadcaster.client_count == 0


async def test_a_cut_ends_that_page_alone(audience: Audience) -> None:
    one, other, unnamed = Browser(audience, "one"), Browser(audience, "other"), Browser(audience)
    for browser in (one, other, unnamed):
        await browser.until('"clients":3')
    assert audience.cut("one") and not audience.cut("nobody")
    async with asyncio.timeout(10):
        await one.task
    assert not audience.cut("one")
    await other.until('"clients":2')
    assert not other.task.done() and not unnamed.task.done()
    await other.leave()
    await unnamed.leave()
    await audience.stop()
