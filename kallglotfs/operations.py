"""FUSE callbacks to FileSystem and back; the one table from domain to errno.

Each callback runs on one of libfuse's threads. Whatever goes wrong leaves here as an `OSError` with an
errno of the table: any other exception would reach the user as EINVAL.

A read never ends in EAGAIN or EINTR (`shutil.copyfile` took EAGAIN for an empty file, `cat` spins on
EINTR), and never short before the end of file (the kernel takes that for the new end).
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
import stat
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, TypeVar

from kallglotfs import errors
from kallglotfs.call_time import CallTime, Step
from kallglotfs.model import Kind
from kallglotfs.openers import Openers
from kallglotfs.patience import Patience
from kallglotfs.repeats import Repeats
from kallglotfs.vfs.naming import inode_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kallglotfs.clock import Clock
    from kallglotfs.content.reader import Piece
    from kallglotfs.model import Attrs
    from kallglotfs.urgency import Caller
    from kallglotfs.vfs.filesystem import FileSystem
    from kallglotfs.vfs.handles import Opened

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

#: What each kind of failure is called in errno; a subclass without a line takes its parent's.
ERRNO: dict[type[errors.KallglotError], int] = {
    errors.KallglotError: errno.EIO,
    errors.NotFound: errno.ENOENT,
    errors.NotPermitted: errno.EACCES,
    errors.CredentialError: errno.EACCES,
    errors.ContentChanged: errno.ESTALE,
    errors.TimedOut: errno.ETIMEDOUT,
    errors.Unreachable: errno.EHOSTUNREACH,
    errors.NotReady: errno.EBUSY,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.NotALink: errno.EINVAL,
    errors.NoSuchAttribute: errno.ENODATA,
    errors.ReadOnly: errno.EROFS,
    errors.BadHandle: errno.EBADF,
}

#: Failures that are ordinary answers and not worth a line in the log.
QUIET = (
    errors.NotFound,
    errors.NoSuchAttribute,
    errors.ReadOnly,
    errors.NotADirectory,
    errors.IsADirectory,
    errors.NotALink,
    errors.ProgramDenied,
    errors.Interrupted,
)

#: What differs in the messages of one and the same failure: the recording and the service's request.
_PARTICULARS = re.compile(r"\b(?:rec|sess)_[A-Za-z0-9]+|\(request [^)]*\)")

#: Type and permissions. A link's are always these, whatever the umask (symlink(7)).
MODES = {
    Kind.DIRECTORY: stat.S_IFDIR | 0o555,
    Kind.AUDIO: stat.S_IFREG | 0o444,
    Kind.TEXT: stat.S_IFREG | 0o444,
    Kind.LINK: stat.S_IFLNK | 0o777,
}
#: Entries of every directory that are its own: `.` and `..`.
OWN_ENTRIES = 2
#: Bytes `statfs` counts in.
FRAGMENT = 4096
#: Longest name the kernel may pass on.
NAME_MAX = 255


def errno_of(error: errors.KallglotError) -> int:
    """Return the errno of a failure."""
    return next(ERRNO[kind] for kind in type(error).__mro__ if kind in ERRNO)


def _callback(
    method: Callable[Concatenate[Operations, str, P], R],
) -> Callable[Concatenate[Operations, str, P], R]:
    """Let nothing but `OSError` out of a callback."""

    @functools.wraps(method)
    def guarded(self: Operations, path: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, path, *args, **kwargs)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - the last line of defence
            raise self.os_error(error, method.__name__, path) from None

    return guarded


class Operations:
    """What libfuse calls.

    Args:
        filesystem: does the work.
        clock: what tells the time.
        timeout: seconds one call may take.
        interrupted: tells, on a callback's thread, whether its caller is gone.
        caller: returns, on a callback's thread, the thread that waits for it; 0 if that cannot be told.
        uid: owner shown.
        gid: group shown.
        umask: permission bits taken away.
        denied: tells, on a callback's thread, whether its caller is a program that is kept out.
        on_init: called once the kernel is connected.
        who: tells, on a callback's thread, who called; None where it never matters.
        throttle_timeout: seconds one call may wait for the rate limit.
        openers: told who opens and closes files.
    """

    #: Times are passed in nanoseconds.
    use_ns = True

    def __init__(
        self,
        filesystem: FileSystem,
        clock: Clock,
        timeout: float,
        interrupted: Callable[[], bool],
        caller: Callable[[], int],
        uid: int,
        gid: int,
        umask: int,
        denied: Callable[[], bool],
        on_init: Callable[[Any], None],
        who: Callable[[], Caller] | None = None,
        throttle_timeout: float = float("inf"),
        openers: Openers | None = None,
    ) -> None:
        self._filesystem = filesystem
        self._clock = clock
        self._timeout = timeout
        self._interrupted = interrupted
        self._caller = caller
        self._times = CallTime(clock)
        self._uid = uid
        self._gid = gid
        self._umask = umask
        self._denied = denied
        self._on_init = on_init
        self._who = who
        self._throttle_timeout = throttle_timeout
        self._repeats = Repeats(clock)
        self._openers = openers or Openers()

    def init_with_config(self, conn: Any, _config: Any) -> None:
        """Take note that the kernel is connected."""
        self._on_init(conn)

    @_callback
    def getattr(self, path: str, handle: int | None = None) -> dict[str, int]:
        """Answer `stat`, and the kernel's own question when it reads from its pages."""
        thread = self._caller()
        patience = self._patience(self._times.before(thread, Step.STALE))
        try:
            attrs = self._filesystem.attributes(path, patience)
        except errors.NotFound as error:
            # The kernel's own question before a read: what is gone under an open handle is ESTALE.
            if handle:
                raise errors.ContentChanged(str(error)) from None
            raise
        self._times.note(thread, Step.LOOK_UP, patience.spent)
        return self._stat(path, attrs)

    @_callback
    def readlink(self, path: str) -> str:
        """Answer `readlink`."""
        return self._filesystem.target(path, self._patience())

    @_callback
    def opendir(self, path: str) -> int:
        """Answer `opendir`."""
        self._admit()
        return self._filesystem.open_directory(path, self._patience())

    @_callback
    def readdir_with_offset(
        self, path: str, offset: int, handle: int
    ) -> Iterator[tuple[str, dict[str, int], int]]:
        """Answer `getdents`, as a stream that goes on where the last answer was full."""
        return self._entries(path, offset, handle)

    @_callback
    def releasedir(self, _path: str, handle: int) -> int:
        """Take note that a directory is closed."""
        self._filesystem.close_directory(handle)
        return 0

    @_callback
    def open(self, path: str, flags: int) -> Opened:
        """Answer `open`."""
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND):
            raise errors.ReadOnly("the mount is read-only")
        self._admit()
        thread = self._caller()
        patience = self._patience(self._times.before(thread, Step.LOOK_UP))
        try:
            opened = self._filesystem.open(path, patience)
        except errors.ContentChanged:
            self._times.note(thread, Step.STALE, patience.spent)
            raise
        self._openers.add(opened.number, thread, path)
        return opened

    @_callback
    def read(self, _path: str, size: int, offset: int, handle: int) -> list[Piece]:
        """Answer `read`, in pieces."""
        return self._filesystem.read(handle, offset, size, self._patience())

    @_callback
    def release(self, _path: str, handle: int) -> int:
        """Take note of the last `close`."""
        self._openers.remove(handle)
        self._filesystem.release(handle)
        return 0

    @_callback
    def getxattr(self, path: str, name: str, _position: int = 0) -> bytes:
        """Answer `getxattr`."""
        return self._filesystem.extended_value(path, name, self._patience())

    @_callback
    def listxattr(self, path: str) -> list[str]:
        """Answer `listxattr`."""
        return list(self._filesystem.extended(path, self._patience()))

    @_callback
    def statfs(self, _path: str) -> dict[str, int]:
        """Answer `statvfs`: all that is known, and no room for more."""
        usage = self._filesystem.usage()
        return {
            "f_bsize": FRAGMENT,
            "f_frsize": FRAGMENT,
            "f_blocks": -(-usage.size // FRAGMENT),
            "f_bfree": 0,
            "f_bavail": 0,
            "f_files": usage.files,
            "f_ffree": 0,
            "f_favail": 0,
            "f_namemax": NAME_MAX,
        }

    @_callback
    def _refuse(self, _path: str, *_args: object) -> NoReturn:
        raise errors.ReadOnly("the mount is read-only")

    mknod = mkdir = unlink = rmdir = symlink = rename = link = _refuse
    chmod = chown = truncate = utimens = write = create = fallocate = _refuse
    setxattr = removexattr = _refuse

    def os_error(self, error: Exception, what: str, path: str) -> OSError:
        """Return what the kernel is told of a failure, and log it: at length once, then for who debugs.

        Args:
            error: what happened.
            what: the call.
            path: of which file.
        """
        if not isinstance(error, errors.KallglotError):
            log.error("%s %r: unexpected failure", what, path, exc_info=error)
            # Not its message, which is not ours.
            self._filesystem.failed(path, errors.KallglotError(f"unexpected {type(error).__name__}"))
            return OSError(errno.EIO, os.strerror(errno.EIO))
        number = errno_of(error)
        level, tail = logging.DEBUG, ""
        if not isinstance(error, QUIET):
            self._filesystem.failed(path, error)
            untold = self._repeats.since_told((number, _PARTICULARS.sub("", str(error))))
            level = logging.DEBUG if untold is None else logging.WARNING
            tail = f" ({untold} more like it since this was last told)" if untold else ""
        log.log(level, "%s %r: %s: %s%s", what, path, errno.errorcode[number], error, tail)
        return OSError(number, os.strerror(number))

    def _entries(self, path: str, offset: int, handle: int) -> Iterator[tuple[str, dict[str, int], int]]:
        folder = path.rstrip("/")
        # The first two places are its own. An entry without an inode number is skipped by readdir(3).
        if offset < 1:
            yield ".", {"st_mode": stat.S_IFDIR, "st_ino": inode_of(path)}, 1
        if offset < OWN_ENTRIES:
            yield "..", {"st_mode": stat.S_IFDIR, "st_ino": inode_of(folder.rpartition("/")[0] or "/")}, 2
        try:
            for entry, behind in self._filesystem.entries(handle, max(0, offset - OWN_ENTRIES)):
                inode = inode_of(f"{folder}/{entry.name}")
                yield entry.name, {"st_mode": MODES[entry.kind], "st_ino": inode}, behind + OWN_ENTRIES
        except errors.KallglotError as error:
            raise self.os_error(error, "readdir", path) from None

    def _stat(self, path: str, attrs: Attrs) -> dict[str, int]:
        moment = int(attrs.mtime * 1_000_000_000)
        umask = 0 if attrs.kind is Kind.LINK else self._umask
        return {
            "st_ino": inode_of(path),
            "st_mode": MODES[attrs.kind] & ~umask,
            "st_nlink": 2 if attrs.kind is Kind.DIRECTORY else 1,
            "st_uid": self._uid,
            "st_gid": self._gid,
            "st_size": attrs.size,
            "st_blocks": -(-attrs.size // 512),
            "st_blksize": FRAGMENT,
            "st_atime": moment,
            "st_mtime": moment,
            "st_ctime": moment,
        }

    def _admit(self) -> None:
        if self._denied():
            raise errors.ProgramDenied("deny_programs keeps this program out")

    def _patience(self, spent: float = 0.0) -> Patience:
        return Patience(
            self._clock, self._timeout, self._interrupted, self._who, self._throttle_timeout, spent
        )
