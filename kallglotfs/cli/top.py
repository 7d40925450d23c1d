"""`kallglotfs top`: how a mount is doing, live."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from kallglotfs.cli.figures import BARS, PLAIN_BARS
from kallglotfs.cli.report import FAILED, complain
from kallglotfs.cli.status_text import clean
from kallglotfs.cli.streams import secure_streams
from kallglotfs.cli.terminal import RESIZED, SUSPEND, Keys
from kallglotfs.cli.top_view import HEADING_EVERY, View, clock_time, heading, row
from kallglotfs.cli.trend import Trend
from kallglotfs.cli.watch import Watch
from kallglotfs.control.client import find, running
from kallglotfs.errors import ControlError, KallglotError, NoSuchMount
from kallglotfs.mountpoint import resolved

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = "kallglotfs top"
#: Keys that end it.
QUIT = ("q", "Q")
#: Seconds an answer may take: as long a key may have to wait.
PATIENCE = 3.0
#: The page that `--once` prints.
WIDTH, HEIGHT = 80, 200


@click.command()
@click.argument("mount_point", required=False, metavar="[MOUNTPOINT]")
@click.option("--once", is_flag=True, help="Print one page, after one interval, and end.")
@click.option(
    "--interval", default=1.0, show_default=True, metavar="SECONDS", type=click.FloatRange(0.2, 3600),
    help="Time between two looks.",
)  # fmt: skip
def top(mount_point: str | None, once: bool, interval: float) -> int:  # noqa: FBT001 - click's way
    """Show live how a mount is doing.

    That is throughput, hit rate, budget, and open files by process. MOUNTPOINT may be left out where
    there is but one. q or Ctrl-C ends it. In a pipe it prints a line for each interval. It costs no API
    request, and goes on when the daemon is restarted.

    \b
    Example:
      kallglotfs top /mnt/calls
      kallglotfs top --interval 10 /mnt/calls | tee calls.log
    """  # noqa: D301
    secure_streams()
    try:
        chosen = find(resolved(mount_point)).mount_point if mount_point else _only()
    except KallglotError as error:
        complain(PROGRAM, str(error))
        return FAILED
    screen = _Screen(chosen, interval)
    try:
        if once:
            return 0 if screen.once() else FAILED
        if sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
            screen.live()
        else:
            screen.rows()
        sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    except OSError:
        # Whoever read it has gone, as `head` does. What is in the buffer is for nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        screen.close()
    return 0


def _only() -> str:
    """Return the mount point of the only mount.

    Raises:
        NoSuchMount: there is none, or more than one.
    """
    found = [each.mount_point for each in running() if each.mount_point]
    if not found:
        raise NoSuchMount("no mount that you may ask; see kallglotfs status")
    if len(found) > 1:
        raise NoSuchMount(f"several mounts, name one of them: {', '.join(found)}")
    return found[0]


class _Screen:
    """Looks at a mount and shows what it sees.

    Args:
        mount_point: which.
        interval: seconds between two looks.
    """

    def __init__(self, mount_point: str, interval: float) -> None:
        self._mount_point = mount_point
        self._interval = interval
        self._watch = Watch(mount_point, PATIENCE)
        self._trend = Trend()
        self._state: dict[str, Any] | None = None
        self._trouble = ""
        # Now: what stands in for it while the screen is drawn does not tell.
        self._bars = BARS if (sys.stdout.encoding or "").lower().startswith("utf") else PLAIN_BARS

    def once(self) -> bool:
        """Print one page; tell whether the mount answered."""
        self._look()
        time.sleep(self._interval)
        self._look()
        for line in self._lines(WIDTH, HEIGHT):
            print(line.plain.rstrip())
        sys.stdout.flush()
        return not self._trouble

    def rows(self) -> None:
        """Print a line for each interval."""
        told, count = "", 0
        while True:
            self._look()
            if not self._trouble and self._state is not None:
                if count % HEADING_EVERY == 0 or told:
                    print(heading())
                print(row(self._state, self._trend.last, time.time()), flush=True)
                count += 1
            elif self._trouble != told:
                print(f"{clock_time(time.time())} {clean(self._trouble)}", flush=True)
            told = self._trouble
            time.sleep(self._interval)

    def live(self) -> None:
        """Draw on the whole terminal until a key ends it."""
        while self._drawn():
            # Ctrl-Z: the terminal is the shell's now, until the program is continued.
            os.kill(os.getpid(), signal.SIGSTOP)

    def close(self) -> None:
        """Hang up."""
        self._watch.close()

    def _drawn(self) -> bool:
        """Draw until a key comes that ends it; tell whether that is for a while only."""
        console = Console()
        with Keys() as keys, Live(console=console, screen=True, auto_refresh=False, transient=True) as live:

            def draw() -> None:
                width, height = console.size
                live.update(Text("\n", end="", no_wrap=True).join(self._lines(width, height)), refresh=True)

            while True:
                self._look()
                draw()
                key = self._key(keys, draw)
                if key:
                    return key == SUSPEND

    def _key(self, keys: Keys, draw: Callable[[], None]) -> str:
        """Wait for the next look; returns the key that ends it all, empty for none."""
        ends = time.monotonic() + self._interval
        while (left := ends - time.monotonic()) > 0:
            key = keys.wait(left)
            if key == RESIZED:
                draw()
            elif key in (*QUIT, SUSPEND):
                return key
        return ""

    def _look(self) -> None:
        try:
            state = self._watch.look()
            self._trend.add(state)
            self._try(state)
        except ControlError as error:
            self._trouble = str(error).removeprefix(f"{self._mount_point}: ")
            self._trend.add(None)
        except Exception:  # noqa: BLE001 - whatever a daemon tells, the terminal is not left in a mess
            self._trouble = "an answer that cannot be read; is it of another version?"
            self._trend, self._state = Trend(), None
        else:
            self._state, self._trouble = state, ""

    def _try(self, state: dict[str, Any]) -> None:
        """Draw for nobody: what cannot be drawn is found out here."""
        moment = time.time()
        row(state, self._trend.last, moment)
        View(WIDTH, HEIGHT, self._bars).lines(self._mount_point, state, self._trend, "", moment)

    def _lines(self, width: int, height: int) -> list[Text]:
        view = View(width, height, self._bars)
        return view.lines(self._mount_point, self._state, self._trend, self._trouble, time.time())
