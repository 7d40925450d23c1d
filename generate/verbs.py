"""The verbs of the command as data: what man pages and completions are made of."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from kallglotfs.cli import mount_helper
from kallglotfs.cli.main import PROGRAM, kallglotfs
from kallglotfs.cli.options import shown_help
from kallglotfs.config.reference import SettingInfo, reference
from kallglotfs.config.settings import FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS: dict[str, SettingInfo] = {setting.name: setting for setting in reference()}


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a verb.

    Attributes:
        names: `-p`, `--profile`.
        value: what stands for its value; empty for a flag.
        help: one sentence.
        setting: the setting it is the long form of; empty for an option of the verb's own.
        choices: all values, where they can be listed.
    """

    names: tuple[str, ...]
    value: str
    help: str
    setting: str = ""
    choices: tuple[str, ...] = ()


@dataclass(slots=True)
class Verb:
    """A verb, or the command itself.

    Attributes:
        path: the words that call it, the program's name first.
        usage: what follows them.
        help: its description, with click's mark before paragraphs that are not to be filled.
        options: in the order of `--help`.
        arguments: what its arguments are called.
        verbs: those below it.
    """

    path: tuple[str, ...]
    usage: str
    help: str
    options: list[Option]
    arguments: str
    verbs: list[Verb] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The last word."""
        return self.path[-1]

    @property
    def summary(self) -> str:
        """The first sentence, without its full stop."""
        return re.split(r"(?<=[A-Za-z)])[.:](?:\s|$)", " ".join(self.help.split("\n\n")[0].split()))[0]


def command() -> Verb:
    """Return the whole command."""
    return _verb(kallglotfs, (PROGRAM,), None)


def helper() -> Verb:
    """Return the helper of mount(8), which is a command without verbs."""
    made = mount_helper.parser()
    options = [
        Option(
            tuple(action.option_strings), "" if action.nargs == 0 else str(action.metavar), action.help or ""
        )
        for action in made._actions  # noqa: SLF001 - argparse has no other way to ask
        if action.option_strings
    ]
    summary = made.description or ""
    return Verb((mount_helper.PROGRAM,), "", summary, options, "[PROFILE] MOUNTPOINT")


def every(verb: Verb) -> Iterator[Verb]:
    """Yield the verbs below one that do something, depth first."""
    for below in verb.verbs:
        if not below.verbs:
            yield below
        yield from every(below)


def choices(text: str) -> tuple[str, ...]:
    """Return the values that a setting's type lists; none where it only describes them."""
    if text == "true or false":
        return ("true", "false")
    parts = [part.removeprefix("or ") for part in text.split(", ")]
    if parts[-1].startswith("some of "):
        parts[-1:] = parts[-1].removeprefix("some of ").split("+")
    return tuple(parts) if len(parts) > 1 and all(re.fullmatch("[a-z0-9]+", part) for part in parts) else ()


def _verb(made: click.Command, path: tuple[str, ...], parent: click.Context | None) -> Verb:
    context = click.Context(made, info_name=path[-1], parent=parent)
    below = []
    if isinstance(made, click.Group):
        for name in made.list_commands(context):
            child = made.get_command(context, name)
            if child is not None and not child.hidden:
                below.append(_verb(child, (*path, name), context))
    pieces = made.collect_usage_pieces(context)
    return Verb(
        path=path,
        usage=" ".join(pieces),
        help=inspect.cleandoc((made.help or "").split("\f")[0]),
        options=[_option(each) for each in made.get_params(context) if isinstance(each, click.Option)],
        arguments=" ".join(piece for piece in pieces if piece != "[OPTIONS]"),
        verbs=below,
    )


def _option(option: click.Option) -> Option:
    name = option.name or ""
    # By its help as well: a verb may have an option of its own that has the name of a setting.
    setting = name if name in SETTINGS and option.help == shown_help(SETTINGS[name]) else ""
    flag = option.is_flag or option.count or name in FLAGS
    listed: tuple[str, ...] = ()
    if isinstance(option.type, click.Choice):
        listed = tuple(str(choice) for choice in option.type.choices)
    elif setting and not flag:
        listed = choices(SETTINGS[setting].type)
    value = "" if flag else (option.metavar or "|".join(listed) or "VALUE")
    names = tuple(sorted((*option.opts, *option.secondary_opts), key=len))
    return Option(names, value, option.help or "", setting, listed)
