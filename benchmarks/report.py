"""docs/benchmarks.md and its plots."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from process import CORES, HERE
from result import Line, Table

DOCS = HERE.parent / "docs"
PLOTS = DOCS / "benchmarks"

PACKAGES = ["fastware", "granian", "uvicorn", "uvloop", "httptools", "sse-starlette", "starlette", "fastapi"]
PACKAGES += ["litestar", "quart", "django", "blacksheep", "aiohttp"]

# Legible on white and on black.
TEXT, OURS, THEIRS = "#808890", "#2f9e6e", "#7c8fb0"

PAGE = HERE / "page.md"


def demands(lines: Iterable[Line]) -> str:
    rows = ["| what | must | measured | `--only` |", "| --- | --- | --- | --- |"]
    for line in lines:
        missed = ", **MISSED**" if line.met is False else ""
        rows.append(f"| {line.what} | {line.must} | {line.measured}{missed} | `{line.command}` |")
    return "\n".join(rows)


def table(one: Table) -> str:
    rows = [one.columns, ["---"] * len(one.columns), *one.rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    return f"## {one.title}\n\n{one.how}\n\n{text}\n"


def plot(one: Table, folder: Path) -> None:
    """A bar for each contestant, in the table's order."""
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": one.name, "font.family": "sans-serif"})
    names, values, is_ours = zip(*reversed(one.bars), strict=True)
    figure = Figure(figsize=(8, 0.6 + 0.32 * len(names)))
    axes = figure.subplots()
    colors = [OURS if mine else THEIRS for mine in is_ours]
    bars = axes.barh(names, values, color=colors, height=0.7)
    axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=4, color=TEXT)
    axes.set_xlabel(one.axis, color=TEXT)
    axes.tick_params(colors=TEXT, length=0)
    axes.margins(x=0.1, y=0.02)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "left")
        spine.set_color(TEXT)
    figure.savefig(folder / f"{one.name}.svg", transparent=True, bbox_inches="tight", metadata={"Date": None})


def write(lines: list[Line], tables: list[Table]) -> None:
    PLOTS.mkdir(exist_ok=True)
    texts = []
    for one in tables:
        plot(one, PLOTS)
        texts.append(f"{table(one)}\n![{one.axis}](benchmarks/{one.name}.svg)\n")
    page = PAGE.read_text().format(
        machine=_machine(), software=_software(), demands=demands(lines), tables="\n".join(texts)
    )
    (DOCS / "benchmarks.md").write_text(page)


def _machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {len(CORES)} cores, {memory:.0f} GiB; Linux {platform.release().split('-')[0]}"


def _software() -> str:
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    try:
        asked = ["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"]
        versions.append(f"nchan {subprocess.run(asked, capture_output=True, text=True, check=True).stdout}")
    except (subprocess.CalledProcessError, OSError):
        versions.append("nchan not installed")
    return ", ".join([f"CPython {platform.python_version()}", *versions])
