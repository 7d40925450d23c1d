"""`kallglotfs demo`: the demo service, for trying things out without an account."""

from __future__ import annotations

import importlib

import click

from kallglotfs.cli.report import SYSTEM, complain


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def demo(arguments: tuple[str, ...]) -> int:
    """Run a Kallglot-compatible service on localhost with real recordings.

    \b
    Example:
      kallglotfs demo --url-lifetime 60
    """  # noqa: D301
    # Not at the top: no other verb needs it.
    service = importlib.import_module("kallglotfs.demo.__main__")
    try:
        return int(service.main(list(arguments)) or 0)
    except ImportError as error:
        complain(
            "kallglotfs demo",
            f"{error.name} is missing, one of the packages of the extra: in a checkout, run scripts/demo, or "
            "install it with: pipx install --force '.[demo]' (pip install '.[demo]' in a venv)",
        )
        return SYSTEM
