"""The binding's callbacks for open and read, where its own cost a copy or cannot say what we have to say.

Used by `libfuse.py`. Everything else the binding does as it is.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType


def adapted(binding: ModuleType) -> Any:
    """Return the binding's `FUSE` class with our open and read.

    Our `open` of the operations returns an `Opened`, our `read` a list of `Piece`.

    Args:
        binding: from `libfuse.load`.
    """

    class Adapted(binding.FUSE):  # type: ignore[misc, name-defined]
        """Callbacks of libfuse."""

        def open(self, path: bytes, info: Any) -> int:
            """Answer `open`, with what the kernel's page cache may do."""
            opened = self.operations.open(path.decode(self.encoding, self.errors), info.contents.flags)
            info.contents.fh = opened.number
            info.contents.keep_cache = opened.keep_cache
            info.contents.direct_io = opened.direct_io
            return 0

        def read(self, path: bytes, target: Any, size: int, offset: int, info: Any) -> int:
            """Answer `read`, each piece copied once, straight to where libfuse sends it from.

            The copy keeps the GIL, unlike `ctypes.memmove`: getting it back would cost more than copying.
            """
            name = path.decode(self.encoding, self.errors)
            pieces = self.operations.read(name, size, offset, info.contents.fh)
            if not pieces:
                return 0
            room = memoryview((ctypes.c_char * size).from_address(ctypes.addressof(target.contents))).cast(
                "B"
            )
            done = 0
            for piece in pieces:
                view = piece.view
                room[done : done + len(view)] = view
                done += len(view)
            return done

    return Adapted
