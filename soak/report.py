"""What a run found, as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from soak.crowd import KINDS, Findings
from soak.latency import Latencies
from soak.options import MIB

if TYPE_CHECKING:
    from soak.run import Outcome

_MILLI = 1000
_PARTS = (0.5, 0.99, 0.999)


def as_text(outcome: Outcome) -> str:
    """Return the table."""
    names = "".join(f"{name:>10}" for name in ("calls", "MiB", "p50 ms", "p99 ms", "p99.9 ms"))
    lines = [f"{'readers':<12}{names}{'max s':>8}{'errors':>8}{'wrong':>7}"]
    every, compared = Latencies(), 0
    for kind in KINDS:
        tally = outcome.findings.kinds[kind]
        every.merge(tally.latencies)
        compared += tally.compared
        lines.append(_row(kind, tally.latencies, tally.compared) + f"{tally.errors:>8}{tally.mismatches:>7}")
    lines.append(_row("all", every, compared))
    before, after, peak = outcome.before, outcome.after, outcome.peak
    lines += ["", f"{'daemon':<16}{'before':>10}{'peak':>10}{'after':>10}"]
    for name in ("rss", "pss"):
        values = (getattr(each, name) / MIB for each in (before, peak, after))
        lines.append(f"{name + ' MiB':<16}" + "".join(f"{value:>10.1f}" for value in values))
    for name in ("threads", "files", "connections"):
        lines.append(f"{name:<16}" + "".join(f"{getattr(each, name):>10}" for each in (before, peak, after)))
    slope = outcome.slope
    lines.append("")
    if slope is not None:
        lines.append(
            f"memory: {slope.per_second * 60 / MIB:+.3f} MiB a minute,"
            f" at most {slope.upper * 60 / MIB:+.3f} with 95 % confidence ({slope.bins} means)"
        )
    lines.append(
        f"requests: {outcome.requests['api']} to the API, {outcome.requests['storage']} to the storage,"
        f" which sent {outcome.sent / MIB:.0f} MiB"
    )
    if outcome.faulty:
        total = sum(outcome.requests.values())
        lines.append(
            f"faults: {outcome.faulty.total()} in {total} requests ({outcome.faulty.total() / total:.1%})"
        )
        lines += [f"  {name:<32}{count:>8}" for name, count in sorted(outcome.faulty.items())]
    lines += [f"seen: {each}" for each in outcome.findings.violations[:20]]
    lines += [f"VIOLATION {each}" for each in outcome.violations]
    lines.append(f"{outcome.seconds:.0f} s: " + ("VIOLATED" if outcome.violations else "all as promised"))
    return "\n".join(lines)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return everything, percentiles worked out."""
    plain = asdict(replace(outcome, findings=Findings(violations=outcome.findings.violations)))
    # Python 3.11's `asdict` counts the pairs of a Counter.
    plain |= {"requests": dict(outcome.requests), "faulty": dict(outcome.faulty)}
    plain["findings"]["kinds"] = {
        kind: {
            "calls": tally.latencies.count,
            "bytes": tally.compared,
            "errors": tally.errors,
            "mismatches": tally.mismatches,
            "late": tally.late,
            "longest_s": tally.latencies.longest,
        }
        | {f"p{part * 100:g}_s": tally.latencies.percentile(part) for part in _PARTS}
        for kind, tally in outcome.findings.kinds.items()
    }
    return plain


def _row(name: str, latencies: Latencies, compared: int) -> str:
    parts = "".join(f"{latencies.percentile(part) * _MILLI:>10.1f}" for part in _PARTS)
    return f"{name:<12}{latencies.count:>10}{compared / MIB:>10.0f}{parts}{latencies.longest:>8.2f}"
