"""How a report is shown: for people, on a first screen."""

from __future__ import annotations

from kallglotfs.cli.doctor import shown
from kallglotfs.doctor.examination import Report
from kallglotfs.doctor.finding import Finding, failure, ok, skipped, warning

WORST = "sudo install -d -m 700 -o $(id -un) /a/path/that/is/longer/than/what/is/left/of/a/line/to/be/copied"


def lines(*findings: Finding, verbose: bool = False, coloured: bool = False) -> list[str]:
    """Return the lines of a report."""
    report = Report("default", findings=list(findings), requests=1)
    return list(shown(report, verbose=verbose, coloured=coloured))


def test_failures_stand_before_warnings_and_what_is_right_is_counted() -> None:
    """In the order of the checks within each."""
    said = lines(ok("a", "fine"), warning("b", "slow", "speed up"), failure("c", "broken", "mend it"))
    assert said == [
        "profile default: 1 failure, 1 warning, 1 ok, 0 not checked (1 API request)",
        "FAILURE  c: broken",
        "         mend: mend it",
        "warning  b: slow",
        "         mend: speed up",
    ]


def test_what_was_not_checked_is_told_once_for_each_reason() -> None:
    """With the names of the checks."""
    said = lines(skipped("a", "no way"), skipped("b", "no key"), skipped("c", "no way"))
    assert said[1:3] == ["not checked: a, c (no way)", "not checked: b (no key)"]


def test_lines_are_short_but_words_stay_whole() -> None:
    """Those of a path or an address."""
    path = "/a/path" + "/that/is/longer/than/a/line" * 4
    said = lines(failure("x", f"{path} {'word ' * 60}", "do " * 60), verbose=True)
    assert all(len(line) <= 80 for line in said if path not in line)
    assert any(line.strip() == path for line in said)


def test_a_command_stays_on_one_line() -> None:
    """In two it cannot be copied; what is to be known of it stands below."""
    said = lines(failure("x", "broken", f"{WORST}   (as root, and {'so on ' * 20})"))
    assert said[2] == f"         mend: {WORST}"
    assert said[3].startswith("               (as root, and")
    assert all(len(line) <= 80 for line in said[3:])
    assert lines(failure("x", "broken", "modprobe fuse   (as root)"))[2].endswith("modprobe fuse   (as root)")


def test_colour_is_only_added() -> None:
    """Without it, the lines are the same."""
    findings = (failure("x", "word " * 60, "y"), warning("x", "y", "z"), ok("z", "fine " * 40))
    plain, coloured = (lines(*findings, verbose=True, coloured=each) for each in (False, True))
    assert not any("\x1b" in line for line in plain)
    bare = [line.replace("\x1b[0m", "") for line in coloured]
    for code in ("31;1", "33", "2", "32"):
        bare = [line.replace(f"\x1b[{code}m", "") for line in bare]
    assert bare == plain


def test_neither_secrets_nor_control_characters_are_shown() -> None:
    """Whoever has written them."""
    said = "\n".join(
        lines(failure("x", "sk_test_canary1 \x1b[2J\u202e", "see ?signature=canary2"), verbose=True)
    )
    assert "canary" not in said
    assert "\x1b" not in said
    assert "\\u202e" in said
