"""What is shipped: the sdist, the wheel and the plain tree, each installed into an empty environment and used."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_SOURCE = [".*", "build", "dist", "*.egg-info", "*.so", "*.o", "__pycache__"]

SMOKE = """
import fastware_sse
broadcaster = fastware_sse.Broadcaster()
broadcaster.register_event("message")
broadcaster.broadcast("message", {"text": "nobody listens"})
assert broadcaster._format_sse("message", {"a": 1}) == 'event: message\\ndata: {"a":1}\\n\\n'
print(fastware_sse.__version__, fastware_sse.__file__)
"""


def run(*command: str | Path, cwd: Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module", autouse=True)
def ordinary_build() -> pytest.MonkeyPatch:
    """Whatever this run of the suite was built with, users build without it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FASTWARE_SSE_DEBUG", raising=False)
        patch.delenv("FASTWARE_SSE_SANITIZE", raising=False)
        yield patch


def copy_of_the_sources(to: Path) -> Path:
    return shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(*NOT_SOURCE))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources, so that no build finds what another one left."""
    return copy_of_the_sources(tmp_path / "tree")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", copy_of_the_sources(folder / "tree"), cwd=folder)
    return folder / "dist"


def names_below(folder: Path) -> set[str]:
    kinds = (".c", ".h", ".py", ".pyi", ".css", ".html", ".js", ".svg")
    return {path.relative_to(ROOT).as_posix() for path in folder.rglob("*") if path.suffix in kinds}


@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", ["tree", "sdist", "wheel"])
def test_installs_into_an_empty_environment(what: str, tree: Path, dist: Path, tmp_path: Path) -> None:
    source = {"tree": tree, "sdist": next(dist.glob("*.tar.gz")), "wheel": next(dist.glob("*.whl"))}[what]
    run(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", source, cwd=tmp_path)
    version, file = run(python, "-c", SMOKE, cwd=tmp_path).stdout.split()
    assert version in source.name or what == "tree"
    assert Path(file).is_relative_to(tmp_path / "venv")


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_wheel_holds_the_package_and_no_sources_of_the_core(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licensed = any(name.endswith("/LICENSE") for name in wheel.namelist())
    compiled = {name for name in names if name.endswith(".so")}
    assert names - compiled == names_below(ROOT / "fastware_sse") | {"fastware_sse/py.typed"}
    assert sorted(name.split(".")[0] for name in compiled) == ["fastware_sse/_core", "fastware_sse/_load"]
    assert licensed


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_sdist_holds_everything_a_build_needs(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names >= names_below(ROOT / "fastware_sse") | names_below(ROOT / "csrc") | {"fastware_sse/py.typed"}
    assert names >= {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "setup.py"}
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc"))]


def setup_py(tree: Path, prelude: str) -> subprocess.CompletedProcess[str]:
    """Runs setup.py to a build, after `prelude`; it is expected to refuse."""
    code = f"import os, runpy, setuptools, sys; {prelude}; sys.argv = ['setup.py', 'build']; runpy.run_path('setup.py')"
    return run(sys.executable, "-c", code, cwd=tree, ok=False)


def test_windows_is_refused_in_one_sentence_before_anything_is_compiled(tree: Path) -> None:
    done = setup_py(tree, "sys.platform = 'win32'")
    assert done.stderr.startswith("fastware_sse does not support Windows:")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tree / "build").exists()


def test_an_unknown_sanitizer_is_refused(tree: Path) -> None:
    done = setup_py(tree, "os.environ['FASTWARE_SSE_SANITIZE'] = 'adress'")
    assert done.stderr == "FASTWARE_SSE_SANITIZE must be 'address' or 'thread', not 'adress'\n"
