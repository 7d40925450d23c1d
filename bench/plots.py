"""Draw docs/performance/*.svg from results.json; a program of the peers' environment, for matplotlib's sake.

Prints the names of what it drew.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]

mpl.use("svg")
# Text stays text and ids stay the same, so that a new run changes only what was measured anew.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "kallglotfs", "font.size": 9})

import matplotlib.pyplot as plt  # type: ignore[import-not-found]  # noqa: E402 - the backend is chosen first

OURS, THEIRS = "#c2410c", "#64748b"
#: Scenarios whose series are contenders with one number each.
BARS = ("seq-shaped", "seq-raw", "reread", "disk-tier", "rsync")
#: Scenarios whose series are many samples.
SPREADS = ("first-byte", "random-64k")


def draw(folder: Path) -> list[str]:
    """Draw what there are numbers for; return the names of the files."""
    scenarios = json.loads((folder / "results.json").read_text())["scenarios"]
    names = []
    for name, scenario in sorted(scenarios.items()):
        figure = _figure(name, scenario)
        if figure is None:
            continue
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
        plt.close(figure)
        # matplotlib ends lines with blanks, which linters and diffs do not like.
        path = folder / f"{name}.svg"
        path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
        names.append(path.name)
    return names


def _figure(name: str, scenario: dict[str, Any]) -> Any:
    if name in BARS:
        return _bars(scenario)
    if name in SPREADS:
        return _spread(scenario)
    return _curves(scenario) if scenario["curves"] else None


def _colour(label: str) -> str:
    return OURS if label.startswith("kallglotfs") else THEIRS


def _bars(scenario: dict[str, Any]) -> Any:
    series = scenario["series"][::-1]
    figure, axes = plt.subplots(figsize=(7, 0.32 * len(series) + 0.8))
    labels = [one["label"] for one in series]
    medians = [statistics.median(one["values"]) for one in series]
    bars = axes.barh(labels, medians, color=[_colour(label) for label in labels])
    axes.bar_label(bars, [f"{value:,.0f}" if value >= 10 else f"{value:.2f}" for value in medians], padding=3)  # noqa: PLR2004
    for place, one in enumerate(series):
        axes.plot(one["values"], [place] * len(one["values"]), "|", color="black", markersize=6)
    axes.set_xlabel(f"{series[0]['unit']}, median of the rounds (marks: each round)")
    axes.set_title(scenario["title"], loc="left")
    return _plain(figure, axes)


def _spread(scenario: dict[str, Any]) -> Any:
    figure, axes = plt.subplots(figsize=(7, 3))
    for one in scenario["series"]:
        values = sorted(one["values"])
        parts = [(number + 1) / len(values) * 100 for number in range(len(values))]
        style = "-" if one["label"].startswith("kallglotfs") else "--"
        axes.plot(values, parts, style, label=one["label"])
    axes.set_xlabel(scenario["series"][0]["unit"])
    axes.set_ylabel("% of samples at most")
    axes.set_xlim(left=0)
    axes.set_title(scenario["title"], loc="left")
    axes.legend(frameon=False, fontsize=8)
    return _plain(figure, axes)


def _curves(scenario: dict[str, Any]) -> Any:
    curves = scenario["curves"]
    rows = (len(curves) + 1) // 2
    figure, grid = plt.subplots(rows, 2, figsize=(7, 2.1 * rows), squeeze=False, layout="constrained")
    for axes, curve in zip(grid.flat, curves, strict=False):
        axes.plot(*zip(*curve["points"], strict=True), "o-", color=OURS, markersize=4)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(curve["x_unit"])
        axes.set_ylabel(curve["y_unit"].replace("us", "µs"))
        axes.set_title(curve["label"], loc="left", fontsize=9)
        _plain(figure, axes)
    return figure


def _plain(figure: Any, axes: Any) -> Any:
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    print("\n".join(draw(Path(sys.argv[1]))))
