"""Secrets never reach the log."""

from __future__ import annotations

import logging
import stat
from typing import TYPE_CHECKING

import pytest

from kallglotfs import logs
from kallglotfs.model import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    assert "ValueError" in written


def test_a_log_file_is_private(tmp_path: Path) -> None:
    """Mode 0600 from the start."""
    logs.configure("info", tmp_path / "log", None)
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_a_secret_is_masked_however_it_is_shown() -> None:
    """By repr, str, format and in containers."""
    secret = Secret("CANARY")
    assert "CANARY" not in f"{secret} {secret!r} {[secret]} {secret:>20}" + "%s" % secret  # noqa: UP031
    with pytest.raises(TypeError):
        secret.__reduce__()
