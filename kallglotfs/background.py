"""Going to the background, with the foreground waiting for the outcome.

The child serves; the parent returns only once the child has said that the mount answers, or why not. The
fork happens before any thread is started: threads do not survive one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

#: Exit code when the child died without a word (mount(8): system error).
DIED = 2
#: Seconds a child that is told to end gets, and seconds between two looks whether it has.
STOP, TURN = 6.0, 0.02
#: Seconds for what is still to be written when the process ends.
LAST_WORDS = 1.0


def in_background(
    serve: Callable[[Callable[[], None]], int],
    report: Callable[[int, str], None],
    confirm: Callable[[], int],
) -> int:
    """Run `serve` in a child, which has a session of its own once it is ready.

    Args:
        serve: serves until the end; calls its argument once it is ready; returns the exit code. What it
            raises is a `Failed` outcome, told through the same pipe.
        report: shows the parent's user a failure: exit code and message.
        confirm: called in the parent once the child is ready; returns the exit code.

    Returns:
        The parent's exit code: 0 once the child is ready and `confirm` agrees.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(serve, writing)
    os.close(writing)
    # Whoever stops the one that waits means the mount: nobody would know of it otherwise.
    _on_signals(_interrupt)
    try:
        with os.fdopen(reading, "rb") as pipe:
            outcome = pipe.readline()
        told: dict[str, Any] = json.loads(outcome) if outcome else {"code": DIED, "message": ""}
        refused = int(told["code"])
        code = refused or confirm()
        # From here on the mount is there to stay, and so is what we say about it.
        _on_signals(signal.SIG_IGN)
    except KeyboardInterrupt:
        _on_signals(signal.SIG_IGN)
        _stop(child)
        report(DIED, "stopped before the mount was ready")
        return DIED
    if not outcome:
        _, status = os.waitpid(child, 0)
        report(DIED, f"the daemon ended before the mount was ready ({_how(status)})")
        return DIED
    if told["message"]:
        report(code, str(told["message"]))
    if refused:
        os.waitpid(child, 0)
    elif code:
        _stop(child)
    return code


def _on_signals(action: Callable[..., object] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, action)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _stop(child: int) -> None:
    """End the child, by force where it does not end by itself."""
    for number, seconds in ((signal.SIGTERM, STOP), (signal.SIGKILL, STOP)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if os.waitpid(child, os.WNOHANG)[0]:
                return
            time.sleep(TURN)


class Failed(Exception):
    """The mount could not be made.

    Args:
        code: mount(8) exit code.
        message: one line.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def leave(code: int) -> NoReturn:
    """End the process now.

    Threads may still sit in a network call for as long as `timeout`; ending the ordinary way waits for them.

    Args:
        code: the exit code.
    """
    # On a thread: whoever is to read the log may have stopped reading, and the end does not wait for that.
    last = threading.Thread(target=_last_words, name="last-words", daemon=True)
    with contextlib.suppress(RuntimeError):
        last.start()
        last.join(LAST_WORDS)
    os._exit(code)


def _last_words() -> None:
    # Before the handlers behind them, which they still have something for.
    for handler in logging.getLogger().handlers:
        handler.close()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _child(serve: Callable[[Callable[[], None]], int], writing: int) -> NoReturn:
    told = False

    def tell(code: int, message: str) -> None:
        nonlocal told
        if not told:
            told = True
            # The parent may be gone; then nobody needs telling.
            with contextlib.suppress(BrokenPipeError):
                os.write(writing, json.dumps({"code": code, "message": message}).encode() + b"\n")
            os.close(writing)

    def ready() -> None:
        # Not before it is mounted: autofs lets nobody near a mount point that it waits for, but the process
        # group that mounts there, and that is the one which systemd has started us in.
        os.setsid()
        tell(0, "")
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)

    code = DIED
    try:
        # The terminal means the parent, who then tells us.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.chdir("/")
        code = serve(ready)
    except Failed as failure:
        code = failure.code
        tell(code, failure.message)
    except BaseException as error:  # noqa: BLE001 - the parent must be told
        tell(code, f"unexpected {type(error).__name__}: {error}")
    finally:
        leave(code)


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}"
    return f"exit code {os.WEXITSTATUS(status)}"
