"""The ladder: what each file may include or import, checked as text against the tables below."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
C_FILES = sorted((ROOT / "csrc").rglob("*.[ch]"))
MODULES = sorted((ROOT / "fastware_sse").glob("*.py"))
DEMO = sorted((ROOT / "fastware_sse" / "demo").glob("*.py"))  # an application: it may import what it likes

# A rung is a .h and a .c of one name. It includes its own header and rungs above it.
C_RUNGS = [
    "core/status",
    "core/alloc",
    "core/wire",
    "core/id",
    "core/frame",
    "core/log",
    "core/hub_state",
    "core/place",
    "core/hub",
    "core/hub_resume",
    "core/hub_check",
    "core/group",
    "core/window",
    "core/direct",
    "core/fanout_state",
    "core/laggard",
    "core/fanout",
    "py/state",
    "py/chunk",
    "py/encode",
    "py/entry",
    "py/outbox",
    "py/cache",
    "py/waiter",
    "py/bridge_state",
    "py/schedule",
    "py/parked",
    "py/heartbeat",
    "py/turn",
    "py/direct",
    "py/bridge",
    "py/wake",
    "py/patience",
    "py/fork",
    "py/queues",
    "py/subscription",
    "py/handoff",
    "py/options",
    "py/broadcaster_state",
    "py/publish",
    "py/deliver",
    "py/broadcaster",
    "py/module",
]

# The load client stands on the foot of the core, and beside the rest.
LOAD_RUNGS = [
    "core/status",
    "core/alloc",
    "core/wire",
    "load/buffer",
    "load/fault",
    "load/utf8",
    "load/parse",
    "load/head",
    "load/http",
    "load/json",
    "load/order",
    "load/histogram",
    "load/tally",
    "load/stream",
    "load/due",
    "load/engine",
    "load/py_load",
]

# Each imports the framework that it is named after, and is imported where a request comes from there.
ADAPTERS = ["aiohttp", "blacksheep", "django", "litestar", "quart", "starlette"]

# Each imports the client library of an engine, and is imported where somebody uses it.
ENGINES = {
    "_redis_tail": "redis",
    "_redis_server": "redis",
    "redis": "redis",
    "_nats_connection": "nats",
    "_nats_credentials": "nats",
    "_nats_epoch": "nats",
    "_nats_settings": "nats",
    "_nats_publisher": "nats",
    "_nats_reading": "nats",
    "_nats_server": "nats",
    "nats": "nats",
}

# A module imports modules above it, the standard library and msgspec; others only inside a function or for types.
PYTHON_RUNGS = [
    "_core",
    "_extra",
    "backplane",
    "_options",
    "_lookup",
    "_background",
    "_outage",
    "_pages",
    "_publisher",
    "_exit",
    "_limits",
    "_workers",
    "_fork",
    "_resume",
    "_relay",
    "_age",
    "_seldom",
    "_unsent",
    "_direct",
    "_paging",
    "_client",
    "_session",
    "_stream",
    "_route",
    "_fastware",
    "_frameworks",
    "broadcaster",
    "_install",
    "_deadline",
    "_request",
    "_reply",
    "asgi",
    *ADAPTERS,
    "uvicorn",
    "_share",
    "_outside",
    "_redis_scripts",
    "_redis_tail",
    "_redis_server",
    "redis",
    "_nats_connection",
    "_nats_credentials",
    "_nats_epoch",
    "_nats_settings",
    "_nats_reading",
    "_nats_publisher",
    "_nats_server",
    "nats",
    "_load",
    "_report",
    "_target",
    "load",
    "_engine_of",
    "publish",
    "tail",
    "cli",
    "__init__",
    "__main__",
]
DEPENDENCIES = {"msgspec"}
NEVER_IMPORTED_BY_US = ["fastapi", "fastware", "granian", "hypercorn", "nats", "redis", "uvicorn", "uvloop", *ADAPTERS]

MAX_LINES = {".c": 500, ".h": 500, ".py": 250}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", C_FILES, ids=name_of)
def test_c_file_includes_only_rungs_above_it(path: Path) -> None:
    rung = str(path.relative_to(ROOT / "csrc").with_suffix(""))
    ladder = LOAD_RUNGS if path.parent.name == "load" else C_RUNGS
    assert rung in ladder, f"{rung} is not on the ladder"
    allowed = {f"{above}.h" for above in ladder[: ladder.index(rung) + 1]}
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r'^\s*#\s*include\s+"(.+?)"', text, re.MULTILINE)) <= allowed | {"Python.h"}


KNOW_NO_PYTHON = [path for path in C_FILES if path.parent.name in ("core", "load") and path.stem != "py_load"]


@pytest.mark.parametrize("path", KNOW_NO_PYTHON, ids=name_of)
def test_core_and_load_client_know_no_python(path: Path) -> None:
    assert not re.search(r"Python\.h|\bPy(?:_|[A-Z][a-z]+_)\w+|\bPyObject\b", path.read_text(encoding="utf-8"))


def imports_at_import_time(body: list[ast.stmt]) -> Iterator[str]:
    """The modules that a module's own text imports, absolute, except inside functions and under TYPE_CHECKING."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            base = f"fastware_sse.{module}".rstrip(".") if node.level else module
            if base == "fastware_sse":
                yield from (f"fastware_sse.{alias.name}" for alias in node.names)
            else:
                yield base
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports_at_import_time(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports_at_import_time([child for child in ast.walk(node) if isinstance(child, ast.stmt)][1:])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_imports_only_rungs_above_it(path: Path) -> None:
    assert path.stem in PYTHON_RUNGS, f"{path.stem} is not on the ladder"
    above = PYTHON_RUNGS[: PYTHON_RUNGS.index(path.stem)]
    for module in imports_at_import_time(ast.parse(path.read_text(encoding="utf-8")).body):
        package, _, rest = module.partition(".")
        if package == "fastware_sse":
            assert rest.partition(".")[0] in above, f"{module} is not above {path.stem}"
        else:
            own = {path.stem} & {*ADAPTERS, "uvicorn"} | {ENGINES.get(path.stem)}
            assert package in DEPENDENCIES | own | sys.stdlib_module_names, f"{module} is not a dependency"


def test_importing_the_package_imports_no_framework_and_no_server() -> None:
    code = f"import sys, fastware_sse; print([name for name in {NEVER_IMPORTED_BY_US} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.stdout.strip(), run.stderr) == ("[]", "")


@pytest.mark.parametrize("path", C_FILES + MODULES + DEMO, ids=name_of)
def test_file_keeps_to_its_size(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines < MAX_LINES[path.suffix]
