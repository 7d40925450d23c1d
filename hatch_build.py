"""A release's description: README.md, less the links and pictures that lead nowhere outside the checkout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: A picture or a link of Markdown whose address has no scheme and is no place on the page.
_PICTURE = re.compile(
    r"""
    !\[[^]]*\]\( (?!https?:) [^)]* \) \n*
    | <(?:img|source)\b [^>]* \bsrc(?:set)?=" (?!https?:) [^>]* > \n*
    """,
    re.VERBOSE,
)
#: What is left of a link around such a picture.
_EMPTY = re.compile(r"\[\s*\]\((?!https?:)[^)]*\)\n*")
_LINK = re.compile(r"\[([^]]+)\]\((?!https?:|#)([^)]+)\)")


def description(readme: str) -> str:
    """Return Markdown for a page that has no files beside it."""
    return _LINK.sub(_named, _EMPTY.sub("", _PICTURE.sub("", readme)))


def _named(link: re.Match[str]) -> str:
    text, address = link.groups()
    return f"`{text}`" if text == address else f"{text} (`{address}`)"


class Readme(MetadataHookInterface):
    """Fills in `readme`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put the description into the metadata."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": description(text)}
