"""A process that runs `kallglotfs` commands one after the other: starting Python for each takes seconds.

python shell.py     reads a JSON list of arguments a line, answers with code, output and complaints a line
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Done:
    """What became of a command."""

    returncode: int
    stdout: str
    stderr: str


class Shell:
    """Runs commands in a process of its own.

    Args:
        environ: its environment.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, *arguments: object) -> Done:
        """Run a command and return what became of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(list(map(str, arguments))) + "\n")
        self._process.stdin.flush()
        return Done(*json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr] # it is a pipe
        self._process.stdout.close()  # type: ignore[union-attr]
        self._process.wait(10)


def serve() -> None:
    """Run what is asked for until nobody asks any more."""
    from kallglotfs.cli.main import main  # noqa: PLC0415 - only in the process that runs commands

    for line in sys.stdin:
        said, complained = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
            code = main(json.loads(line))
        print(json.dumps([code, said.getvalue(), complained.getvalue()]), flush=True)  # noqa: T201


if __name__ == "__main__":
    serve()
