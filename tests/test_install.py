"""The complete example of the documentation, with one import changed and unchanged after install(); install() itself.

Each runs in a Python of its own, since install() changes fastware for the whole process.
"""

import pytest
from support import run_python

EXAMPLE = """
from fastware import Router, create_app
from {package} import Broadcaster, sse_route

broadcaster = Broadcaster(heartbeat_interval=30)
broadcaster.register_event("message")
broadcaster.register_event("status")

router = Router()
router.add_route("GET", "/events", sse_route(broadcaster))

@router.post("/send")
async def send_message(request):
    data = request.json
    broadcaster.broadcast("message", {{"text": data["text"]}})
    return {{"sent": True}}

@router.get("/status")
async def get_status(request):
    broadcaster.broadcast("status", {{"clients": broadcaster.client_count}})
    return {{"clients": broadcaster.client_count}}

app = create_app(router)
"""

DRIVER = """
import asyncio, json

async def call(method, path, body=b"", until=lambda sent: False):
    scope = dict(type="http", asgi={"version": "3.0"}, http_version="1.1", method=method, scheme="http", path=path,
                 raw_path=path.encode(), query_string=b"", root_path="", client=("c", 1), server=("s", 2),
                 headers=[(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())])
    requests, sent = [{"type": "http.request", "body": body, "more_body": False}], []
    gone = asyncio.Event()

    async def receive():
        if requests:
            return requests.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(part):
        sent.append(part)
        if until(sent):
            gone.set()

    await app(scope, receive, send)
    return sent

async def main():
    events = asyncio.create_task(call("GET", "/events", until=lambda sent: b"status" in sent[-1].get("body", b"")))
    while broadcaster.client_count == 0:
        await asyncio.sleep(0)
    answers = [await call("POST", "/send", b'{"text": "hi"}'), await call("GET", "/status")]
    assert [json.loads(answer[1]["body"]) for answer in answers] == [{"sent": True}, {"clients": 1}]
    start, *bodies = await events
    headers = {name.lower(): value for name, value in start["headers"]}
    assert start["status"] == 200
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert b"".join(body["body"] for body in bodies) == (
        b'event: message\\ndata: {"text":"hi"}\\n\\nevent: status\\ndata: {"clients":1}\\n\\n')
    assert broadcaster.client_count == 0

asyncio.run(main())
print(type(broadcaster).__module__)
"""


def test_the_complete_example_runs_with_fastware() -> None:
    code = EXAMPLE.format(package="fastware_sse") + DRIVER
    assert run_python(code).stdout.splitlines()[-1] == "fastware_sse.broadcaster"


def test_the_complete_example_runs_unchanged_after_install() -> None:
    code = "import fastware_sse; fastware_sse.install()\n" + EXAMPLE.format(package="fastware") + DRIVER
    assert run_python(code).stdout.splitlines()[-1] == "fastware_sse.broadcaster"


def test_install_swaps_the_four_names_and_is_idempotent() -> None:
    code = """
import warnings
warnings.simplefilter("error")
import fastware_sse
fastware_sse.install()
fastware_sse.install()
import fastware, fastware.sse
for module in fastware, fastware.sse:
    assert module.Broadcaster is fastware_sse.Broadcaster
    assert module.sse_route is fastware_sse.sse_route
"""
    run_python(code)


@pytest.mark.parametrize(
    "early",
    [
        "from fastware import Broadcaster as Mine",
        "from fastware.sse import sse_route",
        "app = fastware.create_app(fastware.Router())",
    ],
)
def test_install_says_that_it_came_too_late(early: str) -> None:
    code = f"""
import warnings
import fastware, fastware_sse
{early}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    fastware_sse.install()
assert [warning.category for warning in caught] == [RuntimeWarning], caught
assert "too late" in str(caught[0].message)
assert caught[0].filename == "<string>", "it points at the call"
"""
    run_python(code)


def test_without_fastware_stream_and_install_say_what_is_missing() -> None:
    code = """
import sys
sys.modules["fastware"] = None  # as if it were not installed
import asyncio, fastware_sse
broadcaster = fastware_sse.Broadcaster(strict=False)
broadcaster.broadcast("message", {"text": "the rest works"})
try:
    asyncio.run(broadcaster.stream(None))
except TypeError as error:
    assert "fastware is not installed" in str(error) and "fastware_sse.asgi.EventStream" in str(error), error
else:
    raise AssertionError("no TypeError")
assert broadcaster.client_count == 0
try:
    fastware_sse.install()
except ImportError:
    print("said so")
"""
    assert run_python(code).stdout == "said so\n"
