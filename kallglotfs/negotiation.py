"""What is agreed with the kernel: look-ups side by side, requests in the background, how far to read ahead.

Used by `libfuse.py` within the `init` callback, and by `mount.py` once the mount is there.

Without FUSE_PARALLEL_DIROPS the kernel holds a lock on a directory during each look-up in it: one recording
that is slow to find then keeps everybody else from finding theirs, and who waits for that lock cannot even
be killed (measured: 31 look-ups of 100 ms took 3.4 s, with the flag 0.36 s). libfuse before 3.17 promises
the flag and forgets to send it (its pull request 861), so there the reply is completed on its way out, by the
hook libfuse has for a session's input and output.
"""

from __future__ import annotations

import ctypes
import logging
import os
import time
from pathlib import Path
from typing import Any, ClassVar

log = logging.getLogger(__name__)

#: The flag, the same bit in libfuse's capabilities and in the kernel's protocol (linux/fuse.h).
PARALLEL_DIROPS = 1 << 18
#: The first libfuse that passes the flag on by itself.
PASSED_ON_SINCE = (3, 17)
#: Asynchronous reads (read-ahead) the kernel may have under way; its default of 12 is two files' worth.
MAX_BACKGROUND = 64
#: Offset of `flags` in `struct fuse_init_out` (linux/fuse.h), bytes.
_FLAGS_OFFSET = 12
#: Bytes the kernel reads ahead, and with it the largest read it asks us for; its default is 128 KiB.
READ_AHEAD = 1024 * 1024
#: Seconds libfuse's second thread gets to sit down.
SETTLE = 0.005
BDI = Path("/sys/class/bdi")


class _Piece(ctypes.Structure):
    """`struct iovec`."""

    _fields_: ClassVar = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Io(ctypes.Structure):
    """`struct fuse_custom_io` (fuse_lowlevel.h)."""

    _fields_: ClassVar = [
        ("writev", ctypes.c_void_p),
        ("read", ctypes.c_void_p),
        ("splice_receive", ctypes.c_void_p),
        ("splice_send", ctypes.c_void_p),
    ]


_Pieces = ctypes.POINTER(_Piece)
_Writev = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_int, _Pieces, ctypes.c_int, ctypes.c_void_p)


def agree(library: Any, fuse: int, conn: Any, version: tuple[int, int]) -> object:
    """Ask the kernel for what we want.

    Args:
        library: libfuse.
        fuse: its `struct fuse *`.
        conn: its `struct fuse_conn_info`.
        version: of libfuse.

    Returns:
        What must be kept alive as long as the session.
    """
    conn.max_background = MAX_BACKGROUND
    conn.congestion_threshold = MAX_BACKGROUND * 3 // 4
    if not conn.capable & PARALLEL_DIROPS:
        return None
    conn.want |= PARALLEL_DIROPS
    if version >= PASSED_ON_SINCE:
        return None
    if not hasattr(library, "fuse_session_custom_io"):
        log.info("this libfuse cannot look up side by side: a slow look-up delays the others")
        return None
    return _Completion(library, fuse)


def raise_read_ahead(device: int, bdi: Path = BDI) -> None:
    """Let the kernel read further ahead, where we are permitted to; only root is.

    Args:
        device: the mount's device number, as `stat` shows it.
        bdi: where sysfs shows backing devices.
    """
    path = bdi / f"{os.major(device)}:{os.minor(device)}" / "read_ahead_kb"
    try:
        path.write_text(str(READ_AHEAD // 1024))
    except OSError as error:
        log.debug("the kernel's read-ahead stays as it is: %s", error.strerror)


class _Completion:
    """Adds the flag to the reply to INIT, then leaves the session's input and output to the C library.

    Args:
        library: libfuse.
        fuse: its `struct fuse *`.
    """

    def __init__(self, library: Any, fuse: int) -> None:
        library.fuse_get_session.restype = ctypes.c_void_p
        library.fuse_get_session.argtypes = [ctypes.c_void_p]
        library.fuse_session_fd.argtypes = [ctypes.c_void_p]
        library.fuse_session_custom_io.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Io), ctypes.c_int]
        self._library = library
        self._session = library.fuse_get_session(fuse)
        self._device = library.fuse_session_fd(self._session)
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._libc.writev.restype = ctypes.c_ssize_t
        self._libc.writev.argtypes = [ctypes.c_int, _Pieces, ctypes.c_int]
        self._complete = _Writev(self._send)
        self._sent = False
        # libfuse has started its second thread just now: let it sit down, it looks for a hook on its way.
        time.sleep(SETTLE)
        self._use(ctypes.cast(self._complete, ctypes.c_void_p))

    def _use(self, writev: ctypes.c_void_p) -> None:
        io = _Io(writev.value, ctypes.cast(self._libc.read, ctypes.c_void_p).value, None, None)
        result = self._library.fuse_session_custom_io(self._session, ctypes.byref(io), self._device)
        if result:
            log.warning(
                "libfuse refuses to look up side by side (%d): a slow look-up delays the others", result
            )

    def _send(self, device: int, pieces: Any, count: int, _userdata: int | None) -> int:
        first, self._sent = not self._sent, True
        if first and count > 1 and pieces[1].length >= _FLAGS_OFFSET + 4:
            ctypes.c_uint32.from_address(pieces[1].base + _FLAGS_OFFSET).value |= PARALLEL_DIROPS
        if first:
            # Before the kernel has the reply and sends requests: libfuse exchanges its hook without a lock,
            # and doing it while others answer has crashed a mount.
            self._use(ctypes.cast(self._libc.writev, ctypes.c_void_p))
        return int(self._libc.writev(device, pieces, count))
