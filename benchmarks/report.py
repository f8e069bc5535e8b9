"""docs/benchmarks.md and its plots."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from process import HERE
from result import Line, Table
from versions import machine, software

DOCS = HERE.parent / "docs"
PLOTS = DOCS / "benchmarks"

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
        machine=machine(), software=software(), demands=demands(lines), tables="\n".join(texts)
    )
    (DOCS / "benchmarks.md").write_text(page)
