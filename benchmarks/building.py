"""Builds and installs what the contestants are made of, each bounded in time. What cannot be had is noted as absent."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nchan
from contestants import ABSENT, FLOOR_PROGRAM, GO_PROGRAM, NODE_FOLDER, RUST_TARGET, VALGRIND
from process import APPS, BUILD, HERE

PACKAGES = ["nginx", "libnginx-mod-nchan", "valgrind"]


def prepare() -> None:
    BUILD.mkdir(exist_ok=True)
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra"]
    subprocess.run(["cc", *flags, "-o", FLOOR_PROGRAM, HERE / "floor.c"], check=True, timeout=60)
    _install()
    reasons = {
        "nginx": None if nchan.nginx() else "not installed",
        "Go": _make(["go", "build", "-o", str(GO_PROGRAM), "."], APPS / "go", 300),
        "Rust": _make(
            ["cargo", "build", "--release", "--locked", "--target-dir", str(RUST_TARGET)], APPS / "rust", 400
        ),
        "Node": _node(),
        VALGRIND: None if shutil.which("valgrind") else "not installed",
    }
    ABSENT.update({server: reason for server, reason in reasons.items() if reason})


def _install() -> None:
    """With apt, where that is possible, and without starting Debian's own server on port 80."""
    is_there = nchan.nginx() and shutil.which("valgrind")
    if is_there or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
        if _make(["apt-get", *arguments], HERE, 180, quiet):
            return


def _node() -> str | None:
    """In a folder of its own: the packages have to lie beside the program that imports them."""
    shutil.copytree(APPS / "node", NODE_FOLDER, dirs_exist_ok=True)
    return _make(["npm", "ci", "--no-audit", "--no-fund"], NODE_FOLDER, 100)


def _make(command: list[str], folder: Path, seconds: float, environ: Mapping[str, str] | None = None) -> str | None:
    """Returns why it failed, in a few words, or None."""
    program = command[0]
    if not shutil.which(program):
        return f"{program} is not installed"
    try:
        subprocess.run(
            command,
            cwd=folder,
            env=os.environ | (environ or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        print(error.stderr, file=sys.stderr)
        return f"{program} has failed"
    except subprocess.TimeoutExpired:
        return f"{program} has taken too long"
    return None
