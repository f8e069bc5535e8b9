"""What the documentation says: its code runs, its links lead somewhere, and its tables are those of the code."""

import ast
import asyncio
import inspect
import logging
import math
import os
import re
import resource
import shutil
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from fastware.testing import AsyncTestClient
from memory import Memory, Server
from support import Client, connect, open_stream, permissive, run_python, stuck_client, turns

import fastware_sse
from fastware_sse import Broadcaster, _limits, _workers

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SLOW_CLIENTS = (ROOT / "docs" / "slow-clients.md").read_text(encoding="utf-8")
RESUME = (ROOT / "docs" / "resume.md").read_text(encoding="utf-8")

# "Complete example" in the documentation of fastware's Broadcaster.
DOCUMENTED = """\
from fastware import Router, Broadcaster, sse_route, create_app, serve

broadcaster = Broadcaster(heartbeat_interval=30)
broadcaster.register_event("message")
broadcaster.register_event("status")

router = Router()
router.add_route("GET", "/events", sse_route(broadcaster))

@router.post("/send")
async def send_message(request):
    data = request.json
    broadcaster.broadcast("message", {"text": data["text"]})
    return {"sent": True}

@router.get("/status")
async def get_status(request):
    broadcaster.broadcast("status", {"clients": broadcaster.client_count})
    return {"clients": broadcaster.client_count}

app = create_app(router)

if __name__ == "__main__":
    serve(app, foreground=True, host="127.0.0.1", port=8000)
"""
OUR_IMPORTS = """\
from fastware import Router, create_app, serve
from fastware_sse import Broadcaster, sse_route
"""


def blocks(text: str, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [code for name, code in found if name == language]


PYTHON_BLOCKS = [
    # What starts a server is slow.
    pytest.param(code, id=f"{page.name}-{number}", marks=[pytest.mark.e2e] if "live_server" in code else [])
    for page in PAGES
    for number, code in enumerate(blocks(page.read_text(encoding="utf-8"), "python"))
]

# Define what `code` defines, as an import would, and run the tests among it. pytest would keep the log to itself.
RUN_TESTS = """
import asyncio, inspect, logging
logging.getLogger("fastware_sse").addHandler(logging.NullHandler())
names = {"__name__": "documented"}
exec(compile(code, "<documented>", "exec"), names)
for name, test in list(names.items()):
    if name.startswith("test_"):
        asyncio.run(test()) if inspect.iscoroutinefunction(test) else test()
"""


def block_with(text: str, part: str) -> str:
    (code,) = [code for code in blocks(text, "python") if part in code]
    return code


def run_block(code: str) -> dict[str, Any]:
    """The names that `code` defines, run as an import would."""
    names: dict[str, Any] = {"__name__": "documented"}
    exec(compile(code, "<documented>", "exec"), names)
    return names


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the table under the line `header`, without the backquotes."""
    table = takewhile(lambda line: line.startswith("|"), text[text.index(header) :].splitlines()[2:])
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in table]


async def first_of(app: Any, broadcaster: Broadcaster, *calls: tuple[str, str, Any]) -> str:
    """What a client of /events has got after `calls`, as (method, path, JSON)."""
    async with AsyncTestClient(app) as client:
        stream = asyncio.create_task(client.get("/events"))
        while broadcaster.client_count == 0:
            await asyncio.sleep(0.001)
        for method, path, body in calls:
            assert (await client.request(method, path, json=body)).status_code == 200
        broadcaster.close()
        return (await stream).text


# ---- code ----


@pytest.mark.parametrize("code", PYTHON_BLOCKS)
def test_documented_code_runs_and_its_tests_pass(code: str) -> None:
    if "playwright" in code and (find_spec("playwright") is None or shutil.which("chromium") is None):
        message = "the test in a browser needs playwright and chromium"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    run_python(f"code = {code!r}\n{RUN_TESTS}", PYTHONPATH=str(ROOT / "examples" / "testing"))


def test_every_snippet_of_the_testing_page_is_a_test() -> None:
    testing = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    assert all("def test_" in code for code in blocks(testing, "python"))


async def test_the_app_of_the_readme_sends_what_the_readme_shows() -> None:
    names = run_block(block_with(README, '@router.post("/items")'))
    app = names["create_app"](names["router"])
    text = await first_of(app, names["broadcaster"], ("POST", "/items", {"name": "tea"}))
    (shown,) = [block for block in blocks(README, "") if block.startswith("event:")]
    assert text == shown + "\n"


def test_install_of_the_readme_swaps_the_names() -> None:
    code = block_with(README, "fastware_sse.install()")
    run_python(f"{code}\nassert Broadcaster is fastware_sse.Broadcaster and sse_route is fastware_sse.sse_route")


async def test_the_documented_burst_reaches_everybody() -> None:
    names = run_block(block_with(SLOW_CLIENTS, "async def send(lines)"))
    broadcaster = names["broadcaster"]
    clients = [Client(await open_stream(broadcaster)) for _ in range(100)]
    await turns()
    await names["send"](["a line"] * 10_000)
    assert broadcaster.client_count == 100
    broadcaster.close()
    assert [len(await client.end()) for client in clients] == [10_000] * 100


# ---- tables ----


def test_the_options_of_the_readme_are_those_of_the_constructor() -> None:
    documented = [(row[0], row[2]) for row in rows(README, "| option | type | default |")]
    parameters = inspect.signature(Broadcaster).parameters.values()
    assert documented == [(parameter.name, repr(parameter.default)) for parameter in parameters]
    kinds = [parameter.kind for parameter in parameters]
    assert kinds == [inspect.Parameter.POSITIONAL_OR_KEYWORD] + [inspect.Parameter.KEYWORD_ONLY] * (len(kinds) - 1)


def test_the_names_of_the_readme_are_the_public_names() -> None:
    signatures = [row[0] for row in rows(README, "| name | meaning |")]
    documented = {re.match(r"(?:await )?(\w+)", signature)[1] for signature in signatures}  # type: ignore[index]
    public = {name for name in dir(Broadcaster) if not name.startswith("_")} | set(fastware_sse.__all__)
    assert documented | {"Broadcaster"} == public
    for signature in signatures:
        name, arguments = re.match(r"(?:await )?(\w+)(?:\((.*)\))?", signature).groups()  # type: ignore[union-attr]
        if arguments is not None:
            found = inspect.signature(getattr(Broadcaster, name, None) or getattr(fastware_sse, name))
            names = [argument.split(":")[0].split("=")[0] for argument in arguments.split(", ") if argument]
            assert names == [parameter for parameter in found.parameters if parameter != "self"], signature


def test_the_ladder_of_the_design_page_has_every_file() -> None:
    documented = {row[0] for row in rows(DESIGN, "| file | in one sentence |")}
    in_c = {str(path.relative_to(ROOT).with_suffix("")) for path in (ROOT / "csrc").rglob("*.[ch]")}
    package = [*(ROOT / "fastware_sse").rglob("*.py"), *(ROOT / "fastware_sse").rglob("*.pyi")]
    in_python = {str(path.relative_to(ROOT)) for path in package}
    assert documented == in_c | in_python


def test_the_reasons_of_the_resume_page_are_those_of_the_code() -> None:
    gaps = [name.removeprefix("gaps_") for name in Broadcaster().stats() if name.startswith("gaps_")]
    assert [row[0] for row in rows(RESUME, "| reason | what it means |")] == gaps
    (told,) = re.findall(r"^\| `\.reason` \|.*$", RESUME, re.MULTILINE)
    assert re.findall(r'"(\w+)"', told) == gaps

    def ends(text: str, begin: str) -> list[str]:
        sentence = re.sub(r"\([^)]*\)", "", " ".join(text.split())).partition(begin)[2].partition(".")[0]
        return re.findall(r"\w+", sentence.replace(" or ", " "))

    documented = ends(RESUME, "and at the end a `reason`:")
    assert documented == ends(fastware_sse.Client.__doc__ or "", "then why its stream has ended:")
    assert len(documented) == 7


def test_the_numbers_of_the_operations_page_are_those_of_stats() -> None:
    stats = permissive(backplane=Memory(Server())).stats()
    documented = [row[0] for row in rows(OPERATIONS, "| key of `backplane` | meaning |")]
    assert documented == list(stats.pop("backplane"))
    documented = [row[0] for row in rows(OPERATIONS, "| key | meaning |")]
    assert sorted(documented) == sorted(stats)


STRING = re.compile('"([^"]*)"')


def formats_of_records() -> list[str]:
    """The level and the format of each record that the code can make."""
    found = []
    for path in (ROOT / "fastware_sse").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("_log."):
                level = ast.unparse(node.func).removeprefix("_log.").replace("exception", "error")
                found.append(f"{level.upper()} {ast.literal_eval(node.args[0])}")
    for path in (ROOT / "csrc").rglob("*.c"):
        text = path.read_text(encoding="utf-8")
        calls = re.findall(r'logger, "(\w+)", "\w+",((?:\s*"[^"]*")+)', text)
        assert len(calls) == text.count("state->logger, "), path
        found += [f"{level.upper()} {''.join(STRING.findall(parts))}" for level, parts in calls]
    return found


def test_the_records_of_the_operations_page_are_those_of_the_code() -> None:
    documented = [row[0].replace("`", "") for row in rows(OPERATIONS, "| record | when |")]
    told = set()
    for text in formats_of_records():
        shape = re.escape(text).replace("%s", ".+").replace("%d", r"\d+").replace(r"%\.1f", r"\d+\.\d")
        records = {record for record in documented if re.fullmatch(shape, record)}
        assert records, text
        told |= records
    assert told == set(documented)


async def test_the_log_says_what_the_page_says(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG, "fastware_sse")
    monkeypatch.setattr(_limits, "_spare", math.inf)
    monkeypatch.setattr(_workers, "_has_looked", True)
    documented = {row[0] for row in rows(OPERATIONS, "| record | when |")}
    broadcaster = permissive(256)
    slow = [await stuck_client(broadcaster) for _ in range(3)]
    for _ in range(257):
        broadcaster.broadcast("e", "")
    parked = [Client(await open_stream(broadcaster)) for _ in range(2)]
    await turns()
    for _ in range(257):
        broadcaster.broadcast("e", "")
    for client in parked:
        await client.end()
    monkeypatch.setattr(_limits, "_spare", 0)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))
    parked = [await connect(broadcaster)]
    monkeypatch.setattr(_workers, "_has_looked", False)
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    parked += [await connect(broadcaster)]
    for client in parked:
        await client.leave()
    broadcaster._start_over()  # as in the child of a fork
    broadcaster.broadcast("e", "")
    records = [
        f"{record.levelname} `{record.getMessage()}" for record in caplog.records if record.name == "fastware_sse"
    ]
    assert [record.split()[0] for record in records] == ["DEBUG", "DEBUG"] + ["WARNING"] * 4

    def shape(text: str) -> str:
        return re.sub(r"\d+", "N", text)

    assert {shape(record) for record in records} <= {shape(record) for record in documented}
    for stream in slow:
        await stream.aclose()


# ---- files ----


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_documented_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        for target in re.findall(r"(?:`|^)make (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert re.search(rf"^(?:\w+ )*{target}(?: \w+)*:", makefile, re.MULTILINE), target


def test_the_example_is_the_documented_one_but_for_the_import() -> None:
    first, rest = DOCUMENTED.split("\n", 1)
    assert first == "from fastware import Router, Broadcaster, sse_route, create_app, serve"
    assert (ROOT / "examples" / "fastware_app.py").read_text(encoding="utf-8") == OUR_IMPORTS + rest


def test_the_documented_example_runs_unchanged_after_install() -> None:
    run_python(f"""
import asyncio, fastware_sse
fastware_sse.install()
names = {{"__name__": "documented"}}
exec({DOCUMENTED!r}, names)
assert type(names["broadcaster"]) is fastware_sse.Broadcaster
""")
