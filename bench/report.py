"""What a run prints, and the report it writes: docs/performance.md, its plots and the raw numbers."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench import machine
from bench.api import DELAY as API_DELAY
from bench.peers import PYTHON, ROOT
from bench.storage import DELAY, RATE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.figures import Result, Verdict
    from bench.options import Options

PAGE = ROOT / "docs" / "performance.md"
FOLDER = ROOT / "docs" / "performance"
#: Remarks written by hand, taken into the report after each scenario's table: <name>.md.
REMARKS = ROOT / "bench" / "remarks"
#: As many values of a series are shown one by one.
_SHOWN = 10


def as_text(result: Result, *, judged: bool) -> str:
    """Return a result for the terminal, with the targets when they are to be judged."""
    lines = [f"== {result.name}: {result.title}"]
    for one in result.series:
        values = " ".join(f"{value:.4g}" for value in one.values[:_SHOWN])
        lines.append(f"   {one.label:44} {one.median:10.2f} {one.unit:5} [{values}] {one.note}")
    for verdict in result.verdicts if judged else ():
        word = "ok  " if verdict.reached else "MISS"
        lines.append(f"   {word} {verdict.wording}: {_value(verdict)} (target {_target(verdict)})")
    for curve in result.curves:
        points = ", ".join(f"{x:g}: {y:.3g}" for x, y in curve.points)
        lines.append(f"   {curve.label} ({curve.y_unit} at {curve.x_unit}): {points}")
    lines += [f"   note: {note}" for note in result.notes]
    return "\n".join(lines)


def write(results: list[Result], failures: list[str], options: Options) -> None:
    """Write page, raw numbers and plots; scenarios that did not run keep their earlier numbers."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    raw = FOLDER / "results.json"
    known = json.loads(raw.read_text())["scenarios"] if raw.exists() else {}
    ran = datetime.now(UTC).strftime("%Y-%m-%d")
    facts = machine.describe()
    for result in results:
        known[result.name] = result.to_json() | {
            "measured": ran,
            "rounds": options.rounds,
            "machine": facts,
            "failed": [one for one in failures if one.startswith(f"{result.name}:")],
        }
    raw.write_text(json.dumps({"scenarios": known}, indent=1, sort_keys=True) + "\n")
    plots = _plot()
    PAGE.write_text(page(known, facts, plots))


def _plot() -> list[str]:
    """Draw with matplotlib, which lives in the peers' environment; return the plots' names."""
    if not PYTHON.exists():
        return sorted(path.name for path in FOLDER.glob("*.svg"))
    done = subprocess.run(
        [str(PYTHON), "-m", "bench.plots", str(FOLDER)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=120,
        check=True,
    )
    return done.stdout.split()


def page(scenarios: dict[str, Any], facts: dict[str, str], plots: list[str]) -> str:
    """Return the report. Pure but for the remarks."""
    lines = [
        "# Performance",
        "",
        "Written by `scripts/bench`; do not edit. Remarks come from `bench/remarks/`, raw numbers are",
        "in [results.json](performance/results.json). Everything runs on one machine over 127.0.0.1:",
        "storage, API, peers and kallglotfs share its cores, so compare the ratios, not the megabytes.",
        "",
        *_machine(facts),
        "",
        *_setup(),
        "",
        "## Targets",
        "",
        "| scenario | measure | target | reached | |",
        "| --- | --- | --- | --- | --- |",
        *(line for name, one in _ordered(scenarios) for line in _targets(name, one)),
        "",
    ]
    for name, one in _ordered(scenarios):
        lines += _scenario(name, one, plots)
    return "\n".join(lines).rstrip() + "\n"


def _ordered(scenarios: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    from bench.scenarios import SCENARIOS  # noqa: PLC0415 - the scenarios need none of this

    return [(name, scenarios[name]) for name in SCENARIOS if name in scenarios]


def _machine(facts: dict[str, str]) -> list[str]:
    return [
        "## Machine",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in facts.items()),
    ]


def _setup() -> list[str]:
    shape = f"{DELAY * 1000:g} ms to the first byte, {RATE / 1e6:g} MB/s per connection"
    return [
        "## Set-up",
        "",
        "- Storage: nginx serving files of random bytes, URLs signed and expiring (`secure_link`).",
        f"  *Shaped*: {shape}. *Raw*: as fast as it goes. Its files are in the page cache.",
        f"- API: generation 1, every answer after {API_DELAY * 1000:g} ms.",
        "- kallglotfs: `mount.kallglotfs MOUNTPOINT -o api_url=URL,state_dir=DIR,streams=16`; every cold",
        "  read is on a fresh mount with an empty state. The peers get the plain URL and ask no API.",
        "- Medians; every round compares all bytes with the source. MB is 1,000,000 bytes.",
        "",
        "Again: `scripts/bench`, one scenario: `scripts/bench --only seq-shaped`.",
    ]


def _targets(name: str, scenario: dict[str, Any]) -> list[str]:
    rows = []
    for one in scenario["verdicts"]:
        sign = "≥" if one["at_least"] else "≤"
        word = "reached" if one["reached"] else "**missed**"
        rows.append(f"| {name} | {one['wording']} | {sign} {one['limit']:g} | {one['value']:.4g} | {word} |")
    return rows


def _scenario(name: str, scenario: dict[str, Any], plots: list[str]) -> list[str]:
    lines = [f"## {scenario['title']}", "", scenario["what"], ""]
    if scenario["series"]:
        lines += ["| | median | least | most | |", "| --- | --- | --- | --- | --- |"]
        lines += [_row(one) for one in scenario["series"]]
        lines.append("")
    for curve in scenario["curves"]:
        lines += [
            f"{curve['label']}, {curve['y_unit'].replace('us', 'µs')}:",
            "",
            "| " + curve["x_unit"] + " | " + " | ".join(f"{x:,g}" for x, _ in curve["points"]) + " |",
            "| --- |" + " --- |" * len(curve["points"]),
            "| | " + " | ".join(f"{y:.3g}" for _, y in curve["points"]) + " |",
            "",
        ]
    lines += [f"![{name}](performance/{name}.svg)", ""] if f"{name}.svg" in plots else []
    checked = ", ".join(scenario["checked"])
    rounds = f"{scenario['rounds']} rounds" if scenario["rounds"] > 1 else "1 round"
    lines += [f"Measured {scenario['measured']}, {rounds}. Checked in every round: {checked}.", ""]
    lines += [f"**Failed check:** {one}" for one in scenario["failed"]] + ([""] if scenario["failed"] else [])
    remark = REMARKS / f"{name}.md"
    return lines + ([remark.read_text().rstrip(), ""] if remark.exists() else [])


def _row(one: dict[str, Any]) -> str:
    values = sorted(one["values"])
    middle = len(values) // 2
    median = values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
    note = one["note"].replace("|", "/")
    numbers = " | ".join(_number(value, one["unit"]) for value in (median, values[0], values[-1]))
    return f"| {one['label']} | {numbers} | {note} |"


def _number(value: float, unit: str) -> str:
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2  # noqa: PLR2004
    return f"{value:,.{digits}f} {unit}".strip()


def _value(verdict: Verdict) -> str:
    return f"{verdict.value:g}" if verdict.counts else f"{verdict.value:.3g}"


def _target(verdict: Verdict) -> str:
    return f"{'>=' if verdict.at_least else '<='} {verdict.limit:g}"
