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
    root.setLevel(level)
    logging.getLogger("kallglotfs").setLevel(logging.NOTSET)


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
def test_what_looks_like_a_secret_is_blanked(text: str, tmp_path: Path) -> None:
    """Also in a traceback of a library."""
    logs.configure("debug", tmp_path / "log", None)
    log = logging.getLogger("kallglotfs.test")
    log.warning("%s", text)
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("failed")
    written = (tmp_path / "log").read_text()
    assert "CANARY" not in written
    assert written.count("****") >= 2
    assert "ValueError" in written


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
