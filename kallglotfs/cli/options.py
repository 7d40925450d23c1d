"""Settings as options of the verbs: `-o` text and one long option per setting, from the one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from kallglotfs.config.mount_options import parse_options, split_options
from kallglotfs.config.reference import SettingInfo, reference
from kallglotfs.config.settings import FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kallglotfs.errors import ConfigError

F = TypeVar("F", bound="Callable[..., Any]")


def setting_options(*names: str) -> Callable[[F], F]:
    """Return a decorator that gives a verb the long options of settings.

    Args:
        names: which settings; none for all.
    """

    def decorate(verb: F) -> F:
        for setting in reversed(reference()):
            if names and setting.name not in names:
                continue
            option = "--" + setting.name.replace("_", "-")
            text = shown_help(setting)
            if setting.name in FLAGS:
                verb = click.option(option, setting.name, flag_value="true", default=None, help=text)(verb)
            else:
                verb = click.option(option, setting.name, metavar=setting.type.upper(), help=text)(verb)
        return verb

    return decorate


def shown_help(setting: SettingInfo) -> str:
    """Return the help of the option that stands for a setting."""
    return setting.help if setting.name in FLAGS else f"{setting.help} [{setting.default}]"


def given(option_texts: tuple[str, ...], long_options: Mapping[str, str | None]) -> dict[str, str]:
    """Return the settings that `-o` and long options give; a long option wins.

    Args:
        option_texts: each `-o`'s text.
        long_options: by setting name, None where not given.

    Raises:
        ConfigError: an unknown name.
    """
    items = [item for text in option_texts for item in parse_options(text)]
    settings = dict(split_options(items, sloppy=False).settings)
    settings.update({name: value for name, value in long_options.items() if value is not None})
    return settings


def usage_error(error: ConfigError) -> click.UsageError:
    """Return an error that click shows like its own."""
    return click.UsageError(str(error))
