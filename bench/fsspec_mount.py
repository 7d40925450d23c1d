"""Run fsspec's FUSE over a directory that a web server lists; a program of the peers' environment.

fsspec takes every URL for a file, the mounted directory too; the one thing added here is telling it which
URLs are directories.
"""

from __future__ import annotations

import sys
from typing import Any

import fsspec.fuse  # type: ignore[import-not-found]
from fsspec.implementations.http import HTTPFileSystem  # type: ignore[import-not-found]


class Listed(HTTPFileSystem):  # type: ignore[misc]
    """An HTTPFileSystem that knows its root is a directory."""

    async def _info(self, url: str, **kwargs: Any) -> dict[str, Any]:
        if not url.endswith(".mp3"):
            return {"name": url, "size": 0, "type": "directory"}
        found: dict[str, Any] = await super()._info(url, **kwargs)
        return found


if __name__ == "__main__":
    fsspec.fuse.run(Listed(), sys.argv[1], sys.argv[2], foreground=True, threads=False)
