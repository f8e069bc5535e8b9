"""What a measurement hands back: lines of the table of demands, and tables of contestants with their plots."""

from __future__ import annotations

from dataclasses import dataclass, field

from contestants import ABSENT, Contestant


@dataclass
class Line:
    """Something that is demanded, and what was measured. `met` is None where nothing is demanded on this Python."""

    what: str
    must: str
    measured: str
    met: bool | None = None
    command: str = ""  # how to measure it again; run.py fills it in


def at_least(what: str, bound: float, value: float, detail: str) -> Line:
    return Line(what, f">= {bound:g}", f"{value:.2f} ({detail})", value >= bound)


def at_most(what: str, bound: float, value: float, detail: str) -> Line:
    return Line(what, f"<= {bound:g}", f"{value:.2f} ({detail})", value <= bound)


@dataclass
class Table:
    """One scenario: a row for each contestant, and one of its numbers as a bar chart."""

    name: str  # of the plot's file
    title: str
    how: str  # a paragraph
    columns: list[str]  # the first is the contestant
    axis: str  # what the bars mean
    rows: list[list[str]] = field(default_factory=list)
    bars: list[tuple[str, float, bool]] = field(default_factory=list)  # contestant, value, whether it is ours

    def add(self, one: Contestant, cells: list[str], bar: float) -> None:
        self.rows.append([one.name, *cells])
        self.bars.append((one.name, bar, one.kind.is_ours))

    def add_absent(self, one: Contestant) -> None:
        self.rows.append([one.name, ABSENT[one.server]] + [""] * (len(self.columns) - 2))
