"""FUSE callbacks: errno, modes, and nothing but OSError gets out. The filesystem behind them is a stub."""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest

from kallglotfs import errors
from kallglotfs.clock import Clock
from kallglotfs.logs.repeats import Repeats
from kallglotfs.model import Attrs, Rendition
from kallglotfs.operations import Operations, errno_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Raising:
    """A filesystem whose every call raises one error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def failed(self, _path: str, _error: errors.KallglotError) -> None:
        """Take note of what went wrong."""

    def __getattr__(self, name: str) -> Any:
        def call(*_args: object) -> None:
            raise self.error

        return call


def operations(filesystem: object, umask: int = 0) -> Operations:
    """Return operations on a stub."""
    return Operations(
        filesystem,  # type: ignore[arg-type]
        Clock(),
        1.0,
        lambda: False,
        lambda: 7,
        uid=7,
        gid=8,
        umask=umask,
        denied=lambda: False,
        on_init=lambda _: None,
    )


def kinds(base: type[errors.KallglotError]) -> list[type[errors.KallglotError]]:
    """Return a class and all its subclasses."""
    return [base, *(kind for sub in base.__subclasses__() for kind in kinds(sub))]


EXPECTED = {
    errors.NotFound: errno.ENOENT,
    errors.NotPermitted: errno.EACCES,
    errors.KeyRefused: errno.EACCES,
    errors.ContentChanged: errno.ESTALE,
    errors.TimedOut: errno.ETIMEDOUT,
    errors.RateLimited: errno.ETIMEDOUT,
    errors.Unreachable: errno.EHOSTUNREACH,
    errors.NotReady: errno.EBUSY,
    errors.BadResponse: errno.EIO,
    errors.ServiceFault: errno.EIO,
    errors.ReadOnly: errno.EROFS,
}


@pytest.mark.parametrize(("kind", "number"), EXPECTED.items())
def test_the_errno_table_is_the_designs(kind: type[errors.KallglotError], number: int) -> None:
    """Each kind of failure has the errno that is promised."""
    assert errno_of(kind("x")) == number


@pytest.mark.parametrize("kind", kinds(errors.KallglotError))
def test_no_failure_is_eagain_or_eintr(kind: type[errors.KallglotError]) -> None:
    """Every failure has an errno, and none that programs misread."""
    assert errno_of(kind("x")) not in (errno.EAGAIN, errno.EINTR, 0)


@pytest.mark.parametrize("call", [("getattr", "/x"), ("open", "/x", os.O_RDONLY), ("read", "/x", 1, 0, 1)])
def test_an_unexpected_exception_is_eio_with_a_traceback_in_the_log(
    call: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """The binding would turn it into EINVAL."""
    name, *arguments = call
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is looked at
        getattr(operations(Raising(ZeroDivisionError("secret"))), name)(*arguments)
    assert caught.value.errno == errno.EIO
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "name",
    [
        "mknod",
        "mkdir",
        "unlink",
        "rmdir",
        "symlink",
        "rename",
        "link",
        "chmod",
        "chown",
        "truncate",
        "utimens",
        "write",
        "create",
        "setxattr",
    ],
)
def test_every_change_is_refused_as_read_only(name: str) -> None:
    """EROFS, without asking anybody."""
    with pytest.raises(OSError) as caught:  # noqa: PT011
        getattr(operations(Raising(AssertionError())), name)("/x", 0, 0)
    assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC])
def test_opening_for_writing_is_refused(flags: int) -> None:
    """EROFS before a request is spent."""
    with pytest.raises(OSError) as caught:  # noqa: PT011
        operations(Raising(AssertionError())).open("/x", flags)
    assert caught.value.errno == errno.EROFS


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """Collect what the log tells as a warning."""
    told: list[str] = []
    target = logging.Handler(logging.WARNING)
    target.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    repeats = Repeats(target, time.monotonic)
    log = logging.getLogger("kallglotfs")
    log.addHandler(repeats)
    yield told
    log.removeHandler(repeats)
    repeats.close()


def test_a_failure_that_repeats_is_one_line_in_the_log(warnings: list[str]) -> None:
    """Whichever recording and request it is about; another failure is a line of its own."""
    found = operations(stub := Raising(ZeroDivisionError()))
    for index in range(50):
        stub.error = errors.NotPermitted(f"rec_{index}: the API answers 402 'x' (request 'req_{index}')")
        with pytest.raises(OSError) as caught:  # noqa: PT011
            found.open(f"/recordings/rec_{index}.mp3", os.O_RDONLY)
        assert caught.value.errno == errno.EACCES
    stub.error = errors.NotPermitted("rec_1: the API answers 403 'x'")
    with pytest.raises(OSError):  # noqa: PT011
        found.open("/recordings/rec_1.mp3", os.O_RDONLY)
    assert warnings == [
        "open '/recordings/rec_0.mp3': EACCES: rec_0: the API answers 402 'x' (request 'req_0')",
        "open '/recordings/rec_1.mp3': EACCES: rec_1: the API answers 403 'x'",
    ]


class Fixed:
    """A filesystem with one file."""

    def attributes(self, path: str, _patience: object) -> Attrs:
        return Attrs(12.5, 1000, None if path == "/" else Rendition("rec_1", "mp3"))


def test_stat_shows_owner_mode_and_time() -> None:
    """Modes lose the umask; times are nanoseconds."""
    found = operations(Fixed(), umask=0o027).getattr("/recordings/rec_1.mp3")
    assert stat.S_ISREG(found["st_mode"])
    assert stat.S_IMODE(found["st_mode"]) == 0o440
    assert (found["st_uid"], found["st_gid"], found["st_size"]) == (7, 8, 1000)
    assert found["st_mtime"] == 12_500_000_000
    assert stat.S_IMODE(operations(Fixed(), umask=0o027).getattr("/")["st_mode"]) == 0o550
