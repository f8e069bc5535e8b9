"""What the extras bring, and what is said where it is missing; the engines of a backplane, without a server."""

import asyncio
import shutil
import subprocess
import sys
import tomllib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest

from fastware_sse.backplane import BackplaneError
from fastware_sse.nats import JetStream
from fastware_sse.redis import RedisStream

ROOT = Path(__file__).resolve().parent.parent

WITHOUT = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""
CREDENTIALS = "from fastware_sse.nats import JetStream; JetStream('nats://h', 'news', credentials='user.creds')"
COMMAND = "from fastware_sse.cli import main; main([{!r}, {!r}, 'news'{}])"


@pytest.mark.parametrize(
    ("missing", "name", "code"),
    [
        ("redis", "redis", "import fastware_sse.redis"),
        ("redis", "redis", COMMAND.format("publish", "redis://h", ", 'e', 'd'")),
        ("redis", "redis", COMMAND.format("tail", "unix:///s", "")),
        ("nats", "nats", "import fastware_sse.nats"),
        ("nats", "nats", COMMAND.format("publish", "nats://h", ", 'e', 'd'")),
        ("nkeys", "nats", CREDENTIALS),
        ("uvicorn", "uvicorn", "import fastware_sse.uvicorn"),
        ("fastware", "fastware", "import fastware_sse; fastware_sse.install()"),
    ],
)
def test_an_extra_that_is_missing_is_an_error_that_says_what_to_install(missing: str, name: str, code: str) -> None:
    command = [sys.executable, "-c", WITHOUT + code, missing]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    last = run.stderr.splitlines()[-1]
    assert last.endswith(f"rror: No module named '{missing}': pip install 'fastware-sse[{name}]'")
    assert run.returncode == (2 if "main" in code else 1)


def test_without_its_extension_the_package_says_where_it_was_imported_from(tmp_path: Path) -> None:
    package = shutil.copytree(ROOT / "fastware_sse", tmp_path / "fastware_sse", ignore=shutil.ignore_patterns("*.so"))
    command = [sys.executable, "-S", "-c", "import fastware_sse"]  # -S: else the editable install gives its own
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert f"ImportError: fastware_sse is not built in {package}: if this is a checkout's root" in run.stderr
    assert "circular" not in run.stderr


def test_an_extension_that_cannot_be_loaded_is_an_error_of_its_own(tmp_path: Path) -> None:
    package = shutil.copytree(ROOT / "fastware_sse", tmp_path / "fastware_sse", ignore=shutil.ignore_patterns("*.so"))
    (package / f"_core{EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    command = [sys.executable, "-c", "import fastware_sse"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and "_core" in run.stderr and "not built" not in run.stderr


def test_the_tests_use_the_engines_with_what_their_extras_bring() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert {*extras["redis"], *extras["nats"]} <= set(extras["test"])
    assert "[nkeys]" in extras["nats"][0]  # without it credentials= cannot be used


@pytest.mark.parametrize("engine", [RedisStream("redis://:secret@h", "news"), JetStream("nats://secret@h", "news")])
def test_one_that_is_not_open_says_which_it_is(engine: Any) -> None:
    with pytest.raises(BackplaneError) as raised:
        asyncio.run(engine.last())
    assert str(raised.value) == f"{engine!r} is not open"
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("engine", [RedisStream, JetStream])
@pytest.mark.parametrize(
    "rest",
    ["secret/x+y@localhost:1", "anna:12#secret@localhost", "secret#x@localhost", "anna:12?secret@localhost"],
)
def test_a_password_that_is_not_encoded_is_not_taken_for_a_host(engine: Any, rest: str) -> None:
    with pytest.raises(ValueError, match="percent-encoded") as raised:
        engine(f"{'redis' if engine is RedisStream else 'nats'}://{rest}", "news")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("rest", ["/secret", "/4222/secret", "?secret", "#secret"])
def test_a_nats_url_has_nothing_behind_its_host(rest: str) -> None:
    with pytest.raises(ValueError, match="ends with its host and port") as raised:
        JetStream(f"nats://one:4222/,nats://token{rest}", "news")
    assert "secret" not in str(raised.value)
    JetStream("nats://token@one:4222/,ws://two/nats?x=1", "news")
