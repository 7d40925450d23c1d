"""The configuration file and its profiles."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kallglotfs.config import profiles
from kallglotfs.config.settings import load
from kallglotfs.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def system_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the machine's configuration file into the test's own directory."""
    file = tmp_path / "etc" / "config.toml"
    file.parent.mkdir()
    monkeypatch.setattr(profiles, "SYSTEM_FILE", file)
    return file


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    """Give the place of the user's configuration file."""
    file = tmp_path / "home" / ".config" / "kallglotfs" / "config.toml"
    file.parent.mkdir(parents=True)
    return file


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Give an environment that knows nothing but the home directory."""
    return {"HOME": str(tmp_path / "home")}


def refusal(environ: dict[str, str], profile: str = "default", **options: str) -> str:
    """Return the one line that `load` refuses with."""
    with pytest.raises(ConfigError) as caught:
        load(options, profile, environ)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_the_users_file_wins_over_the_machines(
    user_file: Path, system_file: Path, environ: dict[str, str]
) -> None:
    """The machine's file is read only where the user has none."""
    system_file.write_text("[default]\nstreams = 3\n")
    assert load({}, environ=environ).streams == 3
    user_file.write_text("[default]\ntimeout = 1\n")
    assert load({}, environ=environ).streams == 8


def test_the_xdg_directory_is_honoured(tmp_path: Path, user_file: Path, environ: dict[str, str]) -> None:
    """XDG_CONFIG_HOME moves the user's file; a relative one is ignored, as its specification says."""
    user_file.write_text("[default]\nstreams = 2\n")
    moved = tmp_path / "xdg" / "kallglotfs" / "config.toml"
    moved.parent.mkdir(parents=True)
    moved.write_text("[default]\nstreams = 5\n")
    assert load({}, environ=environ | {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}).streams == 5
    assert load({}, environ=environ | {"XDG_CONFIG_HOME": "xdg"}).streams == 2


def test_a_named_file_wins_over_both(
    tmp_path: Path, user_file: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The config option and KALLGLOTFS_CONFIG name the one file to read, the option first."""
    user_file.write_text("[default]\nstreams = 2\n")
    (tmp_path / "a.toml").write_text("[default]\nstreams = 3\n")
    (tmp_path / "b.toml").write_text("[default]\nstreams = 4\n")
    environ["KALLGLOTFS_CONFIG"] = str(tmp_path / "a.toml")
    assert load({}, environ=environ).streams == 3
    monkeypatch.chdir(tmp_path)
    settings = load({"config": "b.toml"}, environ=environ)
    assert (settings.streams, settings.config) == (4, tmp_path / "b.toml")


@pytest.mark.parametrize("profile", ["default", "kallglot", ""])
def test_the_default_profile_may_be_absent(profile: str, user_file: Path, environ: dict[str, str]) -> None:
    """Under either name, the default profile needs neither a table nor a file."""
    assert load({}, profile, environ).streams == 8
    user_file.write_text("[acme]\nstreams = 2\n")
    assert load({}, profile, environ).streams == 8


@pytest.mark.parametrize("table", ["default", "kallglot"])
@pytest.mark.parametrize("profile", ["default", "kallglot"])
def test_the_default_profile_has_two_names(
    profile: str, table: str, user_file: Path, environ: dict[str, str]
) -> None:
    """The file and the command may spell the default profile either way."""
    user_file.write_text(f"[{table}]\nstreams = 2\n")
    assert load({}, profile, environ).streams == 2


def test_a_profile_is_read_alone(user_file: Path, environ: dict[str, str]) -> None:
    """A profile takes nothing from another one, and mistakes in another do not matter."""
    user_file.write_text("[default]\nstreams = 2\nnonsense = 1\n[acme]\ntimeout = '5s'\n")
    settings = load({}, "acme", environ)
    assert (settings.streams, settings.timeout) == (8, 5)


def test_an_absent_profile_is_refused_with_the_nearest(user_file: Path, environ: dict[str, str]) -> None:
    """A misspelt profile is refused with the one that was meant."""
    assert refusal(environ, "acm") == "no profile 'acm': there is no configuration file"
    user_file.write_text("[acme]\n")
    assert refusal(environ, "acm") == f"no profile 'acm' in {user_file} (did you mean 'acme'?)"


def test_toml_values_read_like_options(user_file: Path, environ: dict[str, str]) -> None:
    """Numbers, truths and lists of TOML mean what their text means as an option."""
    user_file.write_text(
        "[default]\nstreams = 2\ntimeout = 1.5\nmemory_cache = 16777216\nallow_other = true\n"
        "formats = ['mp3', 'wav']\numask = '027'\nuid = 0\n"
    )
    settings = load({}, environ=environ)
    assert (settings.streams, settings.timeout, settings.memory_cache) == (2, 1.5, 16777216)
    assert (settings.allow_other, settings.formats, settings.umask) == (True, ("mp3", "wav"), 0o27)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("umask = 22", 'umask: write an octal mask as text, such as "022"'),
        ("streams = true", "streams: 'true' is not a whole number"),
        ("streams = [1]", "streams: must be a text, a number or true/false"),
        ("timeout = 2024-01-01", "timeout: must be a text, a number or true/false"),
        ("timeout = inf", "timeout: 'inf' is not a time"),
        ("timeout.a = 1", "timeout: must be a text, a number or true/false"),
        ("formats = [1]", "formats: must be a text, a number or true/false"),
        ("memory_cache = '12Q'", "memory_cache: '12Q' is not a size"),
        ("config = 'x'", "config: only -o and the environment can name the configuration file"),
        ('"a\\nb" = 1', "unknown setting 'a\\nb'"),
    ],
)
def test_a_bad_value_names_file_and_profile(
    line: str, reason: str, user_file: Path, environ: dict[str, str]
) -> None:
    """A bad value in a profile is one line with the file, the table and the name."""
    user_file.write_text(f"[default]\n{line}\n")
    assert refusal(environ).startswith(f"{user_file}: [default] {reason}")


def test_a_setting_outside_a_profile_is_refused(user_file: Path, environ: dict[str, str]) -> None:
    """A value above the first table is not silently without effect."""
    user_file.write_text("streams = 2\n")
    assert refusal(environ) == f"{user_file}: 'streams' stands outside a profile; put it below [default]"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"[default]\nstreams = \n", ":2:11: "),
        (b"[default\n", ":1:9: "),
        (b"[default]\na = '''x\ny", ":3:2: "),
        (b"[default]\na = 1\na = 2\n", ":3:6: "),
        (b"[default]\na = '\xff'\n", ":2:6: not UTF-8 text"),
    ],
)
def test_a_syntax_error_names_line_and_column(
    content: bytes, place: str, user_file: Path, environ: dict[str, str]
) -> None:
    """A file that is not TOML is refused with the place, the way compilers print it."""
    user_file.write_bytes(content)
    assert refusal(environ).startswith(f"{user_file}{place}")


def test_a_named_file_that_is_missing_or_unreadable_is_refused(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """A file that was asked for must be there."""
    missing = tmp_path / "none.toml"
    assert refusal(environ, config=str(missing)) == f"{missing}: cannot be read: No such file or directory"
    assert refusal(environ, config=str(tmp_path)) == f"{tmp_path}: cannot be read: Is a directory"
    assert "embedded null" in refusal(environ, config="a\0b")
    assert refusal(environ, config="a\nb") == "'a\\nb': cannot be read: No such file or directory"


def test_a_file_that_exists_but_cannot_be_read_is_refused(user_file: Path, environ: dict[str, str]) -> None:
    """A file in its usual place that cannot be read is not passed over."""
    user_file.mkdir()
    assert refusal(environ) == f"{user_file}: cannot be read: Is a directory"


@pytest.mark.parametrize("named", [True, False])
def test_a_file_that_is_none_is_refused_not_taken_for_empty(
    named: bool,  # noqa: FBT001 - pytest's
    user_file: Path,
    environ: dict[str, str],
) -> None:
    """A FIFO is not waited for, a device not read, whether the file was named or found."""
    options = {"config": str(user_file)} if named else {}
    os.mkfifo(user_file)
    assert refusal(environ, **options) == f"{user_file}: cannot be read: is not a regular file"
    user_file.unlink()
    user_file.symlink_to("/dev/zero")
    assert "is not a regular file" in refusal(environ, **options)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_forbidden_file_is_refused(user_file: Path, environ: dict[str, str]) -> None:
    """A file without read permission is not passed over."""
    user_file.write_text("")
    user_file.chmod(0)
    assert refusal(environ) == f"{user_file}: cannot be read: Permission denied"


def test_a_user_without_a_home_has_the_system_file_alone(
    system_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service may run under a user that has none."""
    system_file.write_text('[default]\nlog_level = "debug"\n')

    def homeless(path: Path) -> Path:
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return path

    monkeypatch.setattr(profiles.Path, "expanduser", homeless)
    assert load({}, environ={}).log_level == "debug"


@pytest.mark.parametrize("given", ["/var/lib/unit", "/var/lib/unit:/var/lib/other"])
def test_a_unit_says_where_state_and_cache_are(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`StateDirectory=` and `CacheDirectory=` are the defaults; of several the first."""
    monkeypatch.setenv("STATE_DIRECTORY", given)
    monkeypatch.setenv("CACHE_DIRECTORY", given)
    settings = load({}, environ={})
    assert str(settings.state_dir) == str(settings.cache_dir) == "/var/lib/unit"
    assert str(load({"state_dir": "/elsewhere"}, environ={}).state_dir) == "/elsewhere"
