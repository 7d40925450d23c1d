"""What the command says when it is called wrongly, and what it can say without everything installed."""

from __future__ import annotations

import sys

import pytest

from kallglotfs.cli import mount_helper
from kallglotfs.cli.main import main
from kallglotfs.config.reference import reference

SAYS = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("arguments", "start", "end"),
    [
        (["nosuch"], "kallglotfs: No such command", "(try: kallglotfs --help)"),
        (["add", "--nosuch"], "kallglotfs add: No such option", "(try: kallglotfs add --help)"),
        (["warm"], "kallglotfs warm: name paths", "(try: kallglotfs warm --help)"),
        (["add", "-o", "nosuch=1", "x"], "kallglotfs add: ", "(try: kallglotfs add --help)"),
        (["cache", "list", "--x"], "kallglotfs cache list: No such", "(try: kallglotfs cache list --help)"),
    ],
)
def test_usage_errors_name_the_verb(arguments: list[str], start: str, end: str, capsys: SAYS) -> None:
    """Its own help is what explains them."""
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(start)
    assert told.endswith(f"{end}\n")


@pytest.fixture
def no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages of the demo service are not installed."""
    for name in [name for name in sys.modules if name.startswith("kallglotfs.demo.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("lameenc", "numpy", "soundfile", "starlette", "uvicorn"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("no_extra")
def test_the_demo_explains_itself_without_its_packages(capsys: SAYS) -> None:
    """Its help is whole; running it names what is missing and how to get it."""
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--help"])
    assert ended.value.code == 0
    assert "--url-lifetime" in capsys.readouterr().out
    assert main(["demo"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "uvicorn is missing" in told
    assert "scripts/demo" in told
    assert "pipx install --force '.[demo]'" in told


@pytest.mark.parametrize(
    ("arguments", "words"), [(["--foo"], "unrecognized arguments: --foo"), (["-v"], "no MOUNTPOINT given")]
)
def test_the_helper_tells_the_first_mistake(arguments: list[str], words: str, capsys: SAYS) -> None:
    """An option that is not known comes before what is missing."""
    try:
        code = mount_helper.main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 1
    assert capsys.readouterr().err == f"mount.kallglotfs: {words} (try: mount.kallglotfs --help)\n"


def test_the_help_of_the_helper_fits_a_terminal(capsys: SAYS, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighty columns, and long defaults are whole all the same."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        mount_helper.main(["--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    together = "".join(line.strip() for line in text.splitlines())
    assert all(setting.default.replace(" ", "") in together.replace(" ", "") for setting in reference())
