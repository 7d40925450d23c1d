"""Secrets never reach the log."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import re
import stat
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from kallglotfs import logs
from kallglotfs.model import Lease, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Put the root logger back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in before[0]:
            handler.close()
    root.handlers[:], level = before
    logging.raiseExceptions = True
    root.setLevel(level)
    logging.getLogger("kallglotfs").setLevel(logging.NOTSET)


@pytest.fixture(params=["text", "json"])
def log_format(request: pytest.FixtureRequest) -> str:
    """Both formats."""
    return str(request.param)


@pytest.mark.parametrize(
    "text",
    [
        "GET https://s/x.mp3?signature=CANARY&expires=1",
        "GET https://s/x.mp3?a=1&X-Amz-Signature=CANARY",
        "Authorization: Bearer CANARY",
        "key sk_live_CANARY refused",
        "Authorization: Basic CANARY=",
        "{'X-API-Key': 'CANARY'}",
        "https://proxy/?u=https%3A%2F%2Fs%2Fx.mp3%3Fa%3D1%26Signature%3DCANARY%26b",
        "GET /x?x-goog-signature=CANARY&amp;X-Amz-Security-Token=CANARY",
    ],
)
def test_what_looks_like_a_secret_is_blanked(text: str, log_format: str, tmp_path: Path) -> None:
    """Also in a traceback of a library, in a field and in what is counted; JSON stays JSON."""
    logs.configure("debug", tmp_path / "log", None, log_format)
    log = logging.getLogger("kallglotfs.test")
    for _ in range(3):
        log.warning("%s", text, extra={"errno": text, "status": {"at": [{text: f'say "{text}"\\'}]}})
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("failed")
    logging.getLogger().handlers[0].close()
    written = (tmp_path / "log").read_text()
    assert "CANARY" not in written
    assert written.count("****") >= 2
    assert "ValueError" in written
    assert "2 times more in the last 1 s" in written
    if log_format == "json":
        assert all("time" in json.loads(line) for line in written.splitlines())


def test_a_log_file_is_private(tmp_path: Path) -> None:
    """Mode 0600 from the start."""
    logs.configure("info", tmp_path / "log", None)
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


FORGED = "\n2026-01-01 00:00:00 ERROR kallglotfs: forged"


@pytest.mark.parametrize(
    "evil",
    [
        FORGED,
        "\r" + FORGED,
        "\x85forged",
        "\u2028forged",
        "\x1b[2Jforged",
        "\u202egro\x00f",
        "\x0bx",
        "\ud800",
    ],
)
def test_nothing_that_is_logged_forges_a_line(evil: str, tmp_path: Path) -> None:
    """Line ends, terminal escapes and marks of direction are shown, in a traceback as well."""
    logs.configure("debug", tmp_path / "log", None)
    log = logging.getLogger("kallglotfs.test")
    log.warning("open %s: failed", evil)
    try:
        raise ValueError(evil)
    except ValueError:
        log.exception("of %s", evil, stack_info=True)
    written = (tmp_path / "log").read_text()
    head = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (WARNING|ERROR) kallglotfs\.test: ")
    lines = written.split("\n")[:-1]
    assert len([line for line in lines if head.match(line)]) == 2
    assert all(head.match(line) or line.startswith(logs.CONTINUED) for line in lines)
    assert all(line.isprintable() for line in lines)


def test_a_log_file_is_not_written_through_another_users_link(tmp_path: Path) -> None:
    """What somebody has put into a directory open to all is refused; a link of one's own is followed."""
    (tmp_path / "own").symlink_to(tmp_path / "target")
    logs.configure("info", tmp_path / "own", None)
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o600
    if os.geteuid() != 0:
        pytest.skip("only root can make what belongs to others")
    for name in ("link", "file"):
        path = tmp_path / name
        if name == "link":
            path.symlink_to(tmp_path / "victim")
        else:
            path.touch()
        os.chown(path, 65534, 65534, follow_symlinks=False)
        with pytest.raises(PermissionError, match="another user"):
            logs.configure("info", path, None)
    assert not (tmp_path / "victim").exists()


def test_a_secret_is_masked_however_it_is_shown() -> None:
    """By every way to format it, in containers, dataclasses, exceptions and tracebacks with locals."""
    secret = Secret("CANARY")
    lease = Lease(secret, ends=1.0)
    shown = [
        f"{secret} {secret!r} {secret!s} {secret!a} {[secret]} {{{secret}: {secret}}} {secret:>20}",
        "%s %r %a" % (secret, secret, secret),  # noqa: UP031
        "{} {!r} {:x^30}".format(secret, secret, secret),  # noqa: UP032
        f"{lease} {lease!r}",
        ascii([secret, (secret,), {secret}]),
        json.dumps({"url": secret}, default=str),
        str(ValueError(secret)) + repr(ValueError("at", secret)) + repr(ValueError(secret).args),
    ]
    try:
        raise ValueError(secret)
    except ValueError as error:
        shown += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    assert "CANARY" not in "".join(shown)
    assert "".join(shown).count("Secret(****)") > 15
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize(
    "leak",
    [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, lambda secret: secret + "", "".join, bytes, iter],
    ids=["pickle", "copy", "deepcopy", "json", "add", "join", "bytes", "iter"],
)
def test_a_secret_is_not_taken_for_a_text(leak: Callable[[Secret], object]) -> None:
    """What would have to look inside fails, and its error does not show what is there."""
    with pytest.raises(TypeError) as caught:
        leak(Secret("CANARY"))
    assert "CANARY" not in str(caught.value)


def written_as(log_format: str, tmp_path: Path, say: Callable[[logging.Logger], object]) -> list[str]:
    """Return the lines that a log gets."""
    logs.configure("debug", tmp_path / "log", None, log_format, "/mnt/calls")
    say(logging.getLogger("kallglotfs.test"))
    return (tmp_path / "log").read_text().split("\n")[:-1]


def test_json_has_an_object_a_line(tmp_path: Path) -> None:
    """With time (RFC 3339), level, logger, message, the mount, what it is about, and the traceback."""

    def say(log: logging.Logger) -> None:
        log.warning("open %r: failed", "/recordings/rec_1.mp3", extra={"errno": "EIO", "odd": "not told"})
        try:
            raise ValueError("\x1b[2J\nforged")
        except ValueError:
            log.exception("of sess_2")
        log.info("status", extra={"status": {"left": float("nan"), "parts": [1, None, True, "\u202e"]}})

    first, second, third = map(json.loads, written_as("json", tmp_path, say))
    assert list(first) == ["time", "level", "logger", "message", "mount", "recording", "errno"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "warning",
        "logger": "kallglotfs.test",
        "message": "open '/recordings/rec_1.mp3': failed",
        "mount": "/mnt/calls",
        "recording": "rec_1",
        "errno": "EIO",
    }
    assert (second["level"], second["session"]) == ("error", "sess_2")
    assert second["traceback"].startswith("Traceback")
    # Whoever prints it gets lines, and nothing that moves the cursor.
    assert all(line.isprintable() for line in second["traceback"].split("\n"))
    assert third["status"] == {"left": "nan", "parts": [1, None, True, "\\u202e"]}


def test_a_text_ends_with_what_its_message_does_not_say(tmp_path: Path) -> None:
    """As name=value, quoted where that takes quotes."""

    def say(log: logging.Logger) -> None:
        log.warning("open: EIO", extra={"errno": "EIO", "call": "open", "source": "a b", "kind": "none"})

    (line,) = written_as("text", tmp_path, say)
    assert line.endswith(' WARNING kallglotfs.test: open: EIO source="a b"')


@pytest.mark.parametrize(("level", "number"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3)])
def test_the_journal_gets_priorities_and_no_time(
    level: str, number: int, log_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every line, that of a traceback too; only where standard error is the journal's stream."""
    reading, writing = os.pipe()
    found = os.fstat(writing)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    with os.fdopen(writing, "w", buffering=1) as stderr:
        logs.configure("debug", None, stderr, log_format)
        getattr(logging.getLogger("kallglotfs.test"), level)("hello", exc_info=ValueError("x"))
        monkeypatch.setenv("JOURNAL_STREAM", "1:2")
        logs.configure("debug", None, stderr, log_format)
        logging.getLogger("kallglotfs.test").error("elsewhere")
    with os.fdopen(reading) as pipe:
        *lines, last = pipe.read().splitlines()
    assert all(line.startswith(f"<{number}>") for line in lines)
    assert not last.startswith("<")
    if log_format == "json":
        assert json.loads(lines[0][3:])["traceback"] == "ValueError: x"
    else:
        assert lines == [f"<{number}>kallglotfs.test: hello", f"<{number}>{logs.CONTINUED}ValueError: x"]


def test_a_log_is_opened_anew_and_elsewhere_without_losing_a_line(tmp_path: Path) -> None:
    """A file that was moved away; one that cannot be opened changes nothing; threads write all the time."""
    log = logs.configure("info", tmp_path / "log", None)
    logger = logging.getLogger("kallglotfs.test")

    def write(number: int) -> None:
        for index in range(200):
            logger.info("line %d", number * 200 + index)

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(write, number) for number in range(4)]
        for turn in range(20):
            (tmp_path / "log").rename(tmp_path / f"log.{turn}")
            log.apply("info", tmp_path / "log", "text")
            with pytest.raises(OSError, match="No such file"):
                log.apply("error", tmp_path / "no" / "log", "json")
        for each in done:
            each.result()
    log.apply("info", tmp_path / "other", "json")
    logger.info("line 800")
    lines = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    found = [int(number) for line in lines for number in re.findall(r"line (\d+)", line)]
    assert sorted(found) == list(range(801))
    assert json.loads((tmp_path / "other").read_text())["message"] == "line 800"
