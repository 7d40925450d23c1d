"""Text as mdoc(7), the language of man pages."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generate.verbs import Option, Verb

#: click's mark before a paragraph that is not filled.
LITERAL = "\b\n"
#: Characters of a line of source.
WIDTH = 78
#: Between two sentences.
SENTENCE = re.compile(r'(?<=[A-Za-z)`0-9"]\.) (?=[A-Z`])')


def escaped(text: str) -> str:
    """Return text in which nothing is special; backticks become bold."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fR", text)


def line(text: str) -> str:
    """Return a line of text that cannot be taken for a macro."""
    return _safe(escaped(text))


def _safe(text: str) -> str:
    return f"\\&{text}" if text.startswith((".", "'")) else text


def quoted(text: str) -> str:
    """Return one argument of a macro."""
    return '"' + escaped(text).replace('"', "\\(dq") + '"'


def sentences(text: str) -> list[str]:
    """Return a paragraph with each sentence on a line of its own, as mdoc has it."""
    made = []
    for sentence in SENTENCE.split(" ".join(text.split())):
        wrapped = textwrap.wrap(escaped(sentence), WIDTH, break_long_words=False, break_on_hyphens=False)
        made += [_safe(each) for each in wrapped]
    return made


def paragraphs(text: str) -> list[str]:
    """Return the lines of a description."""
    made: list[str] = []
    for paragraph in text.split("\n\n"):
        if made:
            made.append(".Pp")
        if paragraph.startswith(LITERAL):
            first, *rest = paragraph.removeprefix(LITERAL).split("\n")
            made += [line(first), ".Bd -literal -offset indent"]
            made += [line(each.removeprefix("  ")) for each in rest]
            made.append(".Ed")
        else:
            made += sentences(paragraph)
    return made


def option(given: Option) -> list[str]:
    """Return an option as an item of a list."""
    names = " , ".join(f"Fl {name[1:]}".replace("Fl -", "Fl Fl ") for name in given.names)
    value = f" Ar {quoted(given.value)}" if given.value else ""
    return [f".It {names}{value}", *sentences(given.help or "See below.")]


def verb(given: Verb) -> list[str]:
    """Return the subsection of a verb."""
    name = " ".join(given.path[1:])
    made = [f".Ss {quoted(name)}", f".Dl {quoted(' '.join([*given.path, given.usage]))}", ".Pp"]
    made += paragraphs(given.help)
    own = [each for each in given.options if not each.setting and "--help" not in each.names]
    settings = [each.setting for each in given.options if each.setting]
    if own:
        made += [".Bl -tag -width Ds", *(part for each in own for part in option(each)), ".El"]
    if settings:
        made += [".Pp", *_settings(settings)]
    return made


def _settings(names: list[str]) -> list[str]:
    long = [f".Fl Fl {name.replace('_', '-')}" for name in names]
    told = "These settings can also be given as options; see\n.Sx SETTINGS\nin\n.Xr mount.kallglotfs 8 :"
    return [*told.split("\n"), *(f"{each} ," for each in long[:-1]), f"{long[-1]} ."]
