"""What a check has found: a frozen value."""

from __future__ import annotations

import enum
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from kallglotfs.errors import KallglotError


#: What to do about a certificate that only the user can decide about.
OWN_AUTHORITY = "if it is your own authority or a company's proxy: export SSL_CERT_FILE=/path/to/its-ca.pem"


#: What stands between a command and what is to be known of it.
NOTE = "   "
#: What mends that are commands begin with.
COMMANDS = (
    "apt ", "chmod ", "chown ", "echo ", "export ", "install ", "kallglotfs ", "mkdir ", "mknod ",
    "modprobe ", "pip ", "sudo ", "sysctl ", "timedatectl ", "unset ", "/",
)  # fmt: skip


class Level(enum.StrEnum):
    """How bad it is, the worst first."""

    #: A mount fails, or something that the settings ask for does not work.
    FAILURE = "failure"
    #: A mount works, but worse than it could, or not for long.
    WARNING = "warning"
    #: It could not be looked at, or what it depends on has failed.
    SKIPPED = "not checked"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: of the check.
        level: how bad it is.
        found: what was found, without secrets.
        mend: what to do about it, the exact command where there is one; empty where nothing has to be done.
    """

    name: str
    level: Level
    found: str
    mend: str = ""

    @property
    def command(self) -> tuple[str, str]:
        """The command that mends it, and what is to be known of it; empty where words alone do."""
        command, _, note = self.mend.partition(NOTE)
        return (command, note) if command.startswith(COMMANDS) else ("", "")


def ok(name: str, found: str) -> Finding:
    """Return that nothing is wrong."""
    return Finding(name, Level.OK, found)


def warning(name: str, found: str, mend: str) -> Finding:
    """Return that something is worse than it could be."""
    return Finding(name, Level.WARNING, found, mend)


def failure(name: str, found: str, mend: str) -> Finding:
    """Return that something does not work."""
    return Finding(name, Level.FAILURE, found, mend)


def skipped(name: str, because: str) -> Finding:
    """Return that it was not looked at."""
    return Finding(name, Level.SKIPPED, because)


def failed(name: str, error: KallglotError, mend: str, level: Level = Level.FAILURE) -> Finding:
    """Return what an error says; our messages put what to do behind a semicolon.

    Args:
        name: of the check.
        error: what was raised.
        mend: what to do where the error names no command; empty to do as it says.
        level: how bad it is.
    """
    text, _, advice = str(error).partition("; ")
    for words in ("run ", "install it with: ", "load the kernel module with: "):
        if advice.startswith(words):
            return Finding(name, level, text, advice.removeprefix(words))
    return Finding(name, level, text, mend or advice)


def quoted(path: str | os.PathLike[str]) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))
