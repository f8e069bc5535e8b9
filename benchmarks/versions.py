"""What was measured, and on what: the machine, and the versions of all software."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

from contestants import ABSENT
from process import APPS, CORES

PACKAGES = ["fastware", "granian", "uvicorn", "uvloop", "httptools", "sse-starlette", "starlette", "fastapi"]
PACKAGES += ["litestar", "quart", "django", "blacksheep", "aiohttp"]

# What the other servers are of: how to ask for its version, and what stands in the file that pins their libraries.
COMMANDS = {
    "nginx": ("nchan", ["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"]),
    "Go": ("Go", ["go", "version"]),
    "Rust": ("Rust", ["rustc", "--version"]),
    "Node": ("Node", ["node", "--version"]),
}
VERSION = re.compile(r"\d[\w.:+-]+")
PINS = {
    "Go": ("go/go.mod", r"^\t\S+/(mercure|go-sse) v(\S+)"),
    "Rust": ("rust/Cargo.lock", r'^name = "(axum|tokio)"\nversion = "(.+)"'),
    "Node": ("node/package.json", r'"(better-sse)": "(.+)"'),
}


def machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {len(CORES)} cores, {memory:.0f} GiB; Linux {platform.release().split('-')[0]}"


def software() -> str:
    found = [f"CPython {platform.python_version()}"]
    found += [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    for server, (name, command) in COMMANDS.items():
        if server in ABSENT:
            continue
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found += [f"{name} {version}" for version in VERSION.findall(text)[:1]]
        if server in PINS:
            file, pattern = PINS[server]
            found += [" ".join(pair) for pair in re.findall(pattern, (APPS / file).read_text(), re.MULTILINE)]
    return ", ".join(found)
