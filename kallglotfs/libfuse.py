"""libfuse: found, loaded, run on a thread of its own, and ended without leaving anybody waiting.

Used by `mount.py` alone; the only place that touches the binding.

Threading: `fuse_main` blocks the thread that calls it, so it gets its own, and the main thread stays free to
take signals. Callbacks come on threads that libfuse starts.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from kallglotfs.adapter import adapted
from kallglotfs.caller import is_gone, is_stopping
from kallglotfs.errors import MountError, SystemFault
from kallglotfs.negotiation import agree

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

log = logging.getLogger(__name__)

DEVICE = "/dev/fuse"
#: libfuse 3 by name, newest ABI first. The binding prefers libfuse 2 (reads of 128 KiB, not 1 MiB).
LIBRARIES = ("libfuse3.so.4", "libfuse3.so.3")
#: The first libfuse 3 with a limit on threads, and with it the option that raises it.
MAX_THREADS_SINCE = (3, 12)
#: Requests the kernel may have under way: slow reads of that many files still let `ls` through.
THREADS = 128
#: Seconds the kernel answers `stat` by itself. What changes (a recording that becomes ready, another version)
#: is seen that much later by `stat`, but not by `open`, which looks anew.
KNOWN_FOR = 5
#: What libfuse says that nobody needs to know.
_NOISE = ("Ignoring invalid max threads value",)
#: Seconds between two nudges of libfuse's loop while it ends.
NUDGE = 0.2
#: Seconds after which a session that was told to end, and does not, is left as it is.
LEAVE_AFTER = 3.5


def load() -> ModuleType:
    """Return the binding, on libfuse 3 where that is installed.

    Raises:
        SystemFault: there is no libfuse.
    """
    if "FUSE_LIBRARY_PATH" not in os.environ:
        for name in LIBRARIES:
            try:
                ctypes.CDLL(name)
            except OSError:
                continue
            os.environ["FUSE_LIBRARY_PATH"] = name
            break
    try:
        # Not at the top: the binding looks for libfuse when it is imported, and fails without.
        return importlib.import_module("mfusepy")
    except (OSError, AttributeError, ImportError):
        raise SystemFault("libfuse cannot be loaded; install it with: apt install fuse3 libfuse3-3") from None


def check_device() -> None:
    """Make sure that the kernel's FUSE device can be used.

    Raises:
        SystemFault: it is missing or closed to this user.
    """
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            raise SystemFault(f"{DEVICE} is missing; load the kernel module with: modprobe fuse") from None
        raise SystemFault(f"{DEVICE} cannot be opened ({error.strerror}); check its permissions") from None


class Session:
    """One connection to the kernel, from mounting to unmounting.

    Args:
        binding: from `load`.
        mount_point: absolute path.
        source: what `findmnt` shows as source.
        allow_other: whether other users may read.
        leave: ends the process; called when a session does not end within `LEAVE_AFTER` of `stop`.
    """

    def __init__(
        self,
        binding: ModuleType,
        mount_point: str,
        source: str,
        *,
        allow_other: bool,
        leave: Callable[[], None],
    ) -> None:
        self._binding = binding
        self._library: Any = binding._libfuse  # noqa: SLF001 - the binding has no name for it
        self._mount_point = mount_point
        self._options: dict[str, Any] = {
            "fsname": source.replace("\\", "\\\\").replace(",", "\\,"),
            "subtype": "kallglotfs",
            "ro": True,
            "nosuid": True,
            "nodev": True,
            "noexec": True,
            "default_permissions": True,
            "allow_other": allow_other,
            "use_ino": True,
            "entry_timeout": KNOWN_FOR,
            "attr_timeout": KNOWN_FOR,
            "foreground": True,
        }
        self._version = (binding.fuse_version_major, binding.fuse_version_minor)
        if self._version >= MAX_THREADS_SINCE:
            self._options["max_threads"] = THREADS
        self._leave = leave
        # A flag and a descriptor: an Event's lock could be held by the very code a signal interrupts.
        self._closing = False
        self._asked = os.eventfd(0, os.EFD_CLOEXEC)
        self._connected = threading.Event()
        self._handle: int | None = None
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self._agreed: object = None
        #: Held while pages are dropped, so that the loop is not ended meanwhile.
        self._dropping = threading.Lock()

    def interrupted(self) -> bool:
        """Tell a callback, on its own thread, whether to give up: its caller is being stopped, or we are."""
        if self._closing:
            return True
        _uid, _gid, pid = self._binding.fuse_get_context()
        return is_stopping(pid) if self._library.fuse_interrupted() else is_gone(pid)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._closing

    def caller(self) -> int:
        """Return, on a callback's thread, the thread that waits for it; 0 in a PID namespace of others."""
        _uid, _gid, pid = self._binding.fuse_get_context()
        return int(pid)

    def connected(self, conn: Any) -> None:
        """Take the connection over; called by the `init` callback."""
        self._handle = self._library.fuse_get_context().contents.fuse
        if conn is not None:
            self._agreed = agree(self._library, self._handle, conn, self._version)
        self._connected.set()

    def start(self, operations: object) -> None:
        """Mount, and return once the kernel is connected.

        Raises:
            MountError: libfuse or the kernel refused, and the message is theirs; or `stop` came first.
        """
        if self._closing:
            raise MountError(f"{self._mount_point}: told to stop before it was mounted")
        # Started before it is needed: a machine that is out of threads can still end us.
        threading.Thread(target=self._end, name="end", daemon=True).start()
        self._thread = threading.Thread(target=self._run, args=(operations,), name="fuse", daemon=True)
        with NativeErrors() as said:
            self._thread.start()
            self._connected.wait()
            if self._failure is None:
                return
            self._thread.join()
        why = said.last or f"libfuse failed ({self._failure})"
        raise MountError(f"{self._mount_point}: {why}") from None

    def wait(self) -> None:
        """Return when the mount has ended, by `stop` or by `umount`; lets signals be handled meanwhile."""
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout=3600)

    def drop_pages(self, path: str) -> None:
        """Have the kernel drop its pages of a file; one that it does not know is no error.

        Not on a callback's thread: the kernel waits here for reads of that file that are under way.

        Args:
            path: below the mount point.
        """
        with self._dropping:
            if self._handle is None or self._closing or not self._alive():
                return
            self._library.fuse_invalidate_path(ctypes.c_void_p(self._handle), os.fsencode(path))

    def stop(self) -> None:
        """Unmount: callbacks give up, the loop ends, libfuse unmounts. Takes no time and no lock."""
        self._closing = True
        os.eventfd_write(self._asked, 1)

    def _run(self, operations: object) -> None:
        try:
            adapted(self._binding)(operations, self._mount_point, **self._options)
        except Exception as error:
            self._failure = error
            if self._connected.is_set():
                log.exception("the FUSE session failed")
        finally:
            self._connected.set()

    def _end(self) -> None:
        """Wait to be told to stop, then see to it that the session ends."""
        while not self._closing:
            # Unlike other calls it does not go on after a signal that this thread has got.
            with contextlib.suppress(InterruptedError):
                os.eventfd_read(self._asked)
        until = time.monotonic() + LEAVE_AFTER
        self._connected.wait(LEAVE_AFTER)
        while self._handle is not None and self._alive() and time.monotonic() < until:
            self._nudge()
            time.sleep(NUDGE)
        # The rest of the process has its time as well.
        time.sleep(max(0.0, until - time.monotonic()))
        self._leave()

    def _nudge(self) -> None:
        """End libfuse's loop: it looks at its exit flag only when a signal interrupts its sleep."""
        # Not at the same time as `drop_pages`, which may wait for the kernel: then the next nudge does it.
        if self._dropping.acquire(timeout=NUDGE):
            try:
                self._library.fuse_exit(ctypes.c_void_p(self._handle))
            finally:
                self._dropping.release()
        if self._thread is not None and self._thread.ident is not None and self._alive():
            signal.pthread_kill(self._thread.ident, signal.SIGTERM)

    def _alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()


class NativeErrors:
    """Catches what C code and child processes (fusermount3) write to standard error.

    While active, file descriptor 2 is a pipe; on leaving, it is what it was. `last` is the last line that
    was written and is not noise.
    """

    def __init__(self) -> None:
        self.last = ""

    def __enter__(self) -> Self:
        """Start catching."""
        sys.stderr.flush()
        self._saved = os.dup(2)
        reading, writing = os.pipe()
        os.dup2(writing, 2)
        os.close(writing)
        self._reader = threading.Thread(target=self._read, args=(reading,), name="stderr", daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Put file descriptor 2 back and read what is left."""
        os.dup2(self._saved, 2)
        os.close(self._saved)
        self._reader.join(timeout=1.0)

    def _read(self, reading: int) -> None:
        with os.fdopen(reading, encoding="utf-8", errors="backslashreplace") as lines:
            for line in lines:
                text = line.strip()
                if text and not any(noise in text for noise in _NOISE):
                    self.last = text
                    log.debug("libfuse: %s", text)
