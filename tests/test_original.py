"""The compatibility suite: fastware's own tests, downloaded and unchanged, with our Broadcaster in place."""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree
from pathlib import Path

import pytest

import fastware_sse

VERSION = "0.6.3"
SHA256 = "53dca6813292da70d1b72373d7858d774dfc1fa95e1369eb1bacdea79c435784"
FILES = ["test_sse.py", "test_followup.py", "test_update_channel.py", "test_stream_disconnect.py"]
# They have nothing to do with a Broadcaster, and the optional package that they need has dropped what they use in 2.0.
NEED_MCP_1 = [
    "tests/test_followup.py::TestMCPModule::test_mcp_available_flag_reflects_installation",
    "tests/test_followup.py::TestMCPModule::test_create_mcp_server_requires_roles_with_tool_modules",
    "tests/test_followup.py::TestMCPModule::test_create_mcp_server_requires_role_or_default",
    "tests/test_followup.py::TestMCPModule::test_create_mcp_server_registers_role_tools",
]
TESTS = 83
BROADCASTERS = 68  # that they make


def has_mcp_1() -> bool:
    try:
        return importlib.metadata.version("mcp").startswith("1.")
    except importlib.metadata.PackageNotFoundError:
        return False


def download(folder: Path) -> Path:
    """The source distribution, in `folder`, which may have it already."""
    sdist = folder / f"fastware-{VERSION}.tar.gz"
    if not sdist.exists():
        # --no-binary names only what is wanted: pip builds its metadata, for which it needs a build backend.
        command = ["pip", "download", "--quiet", "--no-deps", "--no-binary", "fastware", f"fastware=={VERSION}"]
        done = subprocess.run(
            [sys.executable, "-m", *command, "--dest", folder], capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            what = f"the source distribution of fastware {VERSION} cannot be downloaded:\n{done.stdout}{done.stderr}"
            if os.environ.get("CI") == "true":
                pytest.fail(what)
            pytest.skip(what)
    assert hashlib.sha256(sdist.read_bytes()).hexdigest() == SHA256, f"{sdist} is not what was published; remove it"
    return sdist


@pytest.fixture
def source(pytestconfig: pytest.Config, tmp_path: Path) -> Path:
    cache = getattr(pytestconfig, "cache", None)  # absent with -p no:cacheprovider
    with tarfile.open(download(cache.mkdir("fastware") if cache else tmp_path)) as sdist:
        sdist.extractall(tmp_path, filter="data")
    return tmp_path / f"fastware-{VERSION}"


@pytest.mark.timeout(300)
def test_the_tests_of_the_original_pass(source: Path, tmp_path: Path) -> None:
    deselected = [] if has_mcp_1() else NEED_MCP_1
    path = [Path(__file__).parent, Path(fastware_sse.__file__).parents[1]]  # of the plugin, and of what is tested
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "original_plugin", "-p", "no:cacheprovider"),
            *("-k", "not trio"),  # theirs run where it is not installed
            *(f"--deselect={test}" for test in deselected),
            f"--junit-xml={tmp_path}/results.xml",
            *(f"tests/{name}" for name in FILES),
        ],
        cwd=source,
        env=environment | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    suite = xml.etree.ElementTree.parse(tmp_path / "results.xml").getroot()[0]
    counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": TESTS - len(deselected), "failures": 0, "errors": 0, "skipped": 0}, output
    assert f"Broadcasters made: {BROADCASTERS} of ours, 0 of the original" in output
