"""What each setting takes, and which source wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kallglotfs.config import profiles
from kallglotfs.config.addresses import Address
from kallglotfs.config.settings import FLAGS, Settings, load
from kallglotfs.config.units import MIB
from kallglotfs.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a home directory and a machine without configuration."""
    monkeypatch.setattr(profiles, "SYSTEM_FILE", tmp_path / "etc" / "config.toml")
    return tmp_path


@pytest.fixture
def environ(home: Path) -> dict[str, str]:
    """Give an environment that knows nothing but the home directory."""
    return {"HOME": str(home)}


def refusal(options: dict[str, str], environ: dict[str, str], profile: str = "default") -> str:
    """Return the one line that `load` refuses with."""
    with pytest.raises(ConfigError) as caught:
        load(options, profile, environ)
    line = str(caught.value)
    assert line.isprintable()
    assert line
    assert caught.value.__cause__ is None
    return line


def write(home: Path, text: str) -> Path:
    """Write the user's configuration file."""
    file = home / ".config" / "kallglotfs" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_the_defaults_are_those_of_the_design(environ: dict[str, str]) -> None:
    """Without any source, every setting has the default that the design names."""
    settings = load({}, environ=environ)
    assert settings.api_url == "https://api.kallglot.com/v1"
    assert settings.formats == ("native",)
    assert (settings.timeout, settings.throttle_timeout) == (20.0, 90.0)
    assert (settings.memory_cache, settings.disk_cache) == (256 * MIB, 0)
    assert (settings.streams, settings.sample_rate, settings.umask) == (8, 0, 0)
    assert (settings.uid, settings.gid, settings.allow_other) == (None, None, False)
    assert (settings.api_key_file, settings.config) == (None, None)
    assert settings.cache_dir.name == "kallglotfs"
    assert (settings.log_level, settings.log_file) == ("info", None)
    assert settings.state_dir.is_absolute()


def test_the_state_of_root_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root keeps its state below /var/lib, a user in the user's own place."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Settings().state_dir == Path("/var/lib/kallglotfs")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/u/state")
    assert Settings().state_dir == Path("/home/u/state/kallglotfs")


def test_options_win_over_environment_over_profile_over_default(home: Path, environ: dict[str, str]) -> None:
    """Each source wins over the one behind it."""
    write(home, "[default]\ntimeout = 1\nstreams = 2\numask = '077'\n")
    environ |= {"KALLGLOTFS_TIMEOUT": "3s", "KALLGLOTFS_STREAMS": "4"}
    settings = load({"timeout": "5s"}, environ=environ)
    assert (settings.timeout, settings.streams, settings.umask, settings.memory_cache) == (
        5,
        4,
        0o77,
        256 * MIB,
    )


def test_building_settings_directly_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings built by code hold what the code gave, whatever the environment says."""
    monkeypatch.setenv("KALLGLOTFS_STREAMS", "3")
    monkeypatch.setenv("STREAMS", "3")
    settings = Settings(formats=("mp3",), umask=0o22, timeout=1.5, cache_dir=Path("/c"), memory_cache=8 * MIB)
    assert (settings.streams, settings.umask, settings.formats) == (8, 0o22, ("mp3",))


def test_settings_do_not_change() -> None:
    """Settings are frozen."""
    with pytest.raises(ValidationError):
        Settings().streams = 3


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("api_url", "http://localhost:8080/v1/", "http://localhost:8080/v1"),
        ("api_url", "HTTPS://API.Example.com", "https://api.example.com"),
        ("api_url", "https://[::1]:8443/v1//", "https://[::1]:8443/v1"),
        ("formats", "native", ("native",)),
        ("formats", "all", ("mp3", "wav", "ogg")),
        ("formats", "wav+mp3+wav", ("wav", "mp3")),
        ("formats", "OGG", ("ogg",)),
        ("sample_rate", "16000", 16000),
        ("sample_rate", "0", 0),
        ("throttle_timeout", "0", 0.0),
        ("timeout", "500ms", 0.5),
        ("memory_cache", "8M", 8 * MIB),
        ("disk_cache", "1.5G", 1536 * MIB),
        ("streams", "64", 64),
        ("uid", "0", 0),
        ("gid", "65534", 65534),
        ("umask", "022", 0o22),
        ("umask", "0077", 0o77),
        ("umask", "0o27", 0o27),
        ("allow_other", "true", True),
        ("allow_other", "ON", True),
        ("allow_other", "yes", True),
        ("allow_other", "1", True),
        ("allow_other", "no", False),
        ("allow_other", "off", False),
        ("allow_other", "0", False),
        ("log_level", "DEBUG", "debug"),
        ("webhook_listen", "127.0.0.1:8787", Address("127.0.0.1", 8787)),
        ("webhook_listen", " localhost:1 ", Address("localhost", 1)),
        ("webhook_listen", "[::1]:65535", Address("::1", 65535)),
        ("webhook_listen", "[0:0::1]:80", Address("::1", 80)),
        ("webhook_listen", "unix:/run/hooks.sock", Address(path="/run/hooks.sock")),
        ("webhook_listen", "off", None),
    ],
)
def test_a_value_reads(name: str, text: str, value: object, environ: dict[str, str]) -> None:
    """Each type reads what its help promises."""
    assert getattr(load({name: text}, environ=environ), name) == value


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("memory_cache", "12Q", "memory_cache: '12Q' is not a size (examples: 64M, 10G)"),
        ("memory_cache", "1M", "memory_cache: '1M' is too small (at least 8M)"),
        ("timeout", "0", "timeout: '0' is out of range (1ms to 24h)"),
        ("timeout", "soon", "timeout: 'soon' is not a time (examples: 20s, 5m)"),
        ("streams", "0", "streams: '0' is not between 1 and 64"),
        ("streams", "65", "streams: '65' is not between 1 and 64"),
        ("streams", "8.0", "streams: '8.0' is not a whole number"),
        ("uid", "4294967295", "uid: '4294967295' is not between 0 and 4294967294"),
        ("gid", "-1", "gid: '-1' is not a whole number"),
        ("umask", "0888", "umask: '0888' is not an octal mask (examples: 022, 0077)"),
        ("umask", "1777", "umask: '1777' is not an octal mask (examples: 022, 0077)"),
        ("umask", "-1", "umask: '-1' is not an octal mask (examples: 022, 0077)"),
        ("umask", "", "umask: '' is not an octal mask (examples: 022, 0077)"),
        ("formats", "flac", "formats: 'flac' is not native, all, or some of mp3+wav+ogg"),
        ("formats", "native+mp3", "formats: 'native+mp3' is not native, all, or some of mp3+wav+ogg"),
        ("formats", "", "formats: '' is not native, all, or some of mp3+wav+ogg"),
        ("sample_rate", "11025", "is not a sample rate (0, 8000, 16000, 22050, 44100, 48000)"),
        ("allow_other", "perhaps", "allow_other: 'perhaps' is neither true nor false"),
        ("log_level", "loud", "log_level: 'loud' is not one of debug, info, warning, error"),
        (
            "webhook_listen",
            "8787",
            "webhook_listen: '8787' is not an address to listen on (examples: 127.0.0.1",
        ),
        ("webhook_listen", ":8787", "is not an address"),
        ("webhook_listen", "localhost", "is not an address"),
        ("webhook_listen", "localhost:0", "is not an address"),
        ("webhook_listen", "localhost:65536", "is not an address"),
        ("webhook_listen", "::1:8787", "is not an address"),
        ("webhook_listen", "[::x]:8787", "is not an address"),
        ("webhook_listen", "*:8787", "is not an address"),
        ("webhook_listen", "http://localhost:8787", "is not an address"),
        ("webhook_listen", "unix:hooks.sock", "is not an address"),
        ("webhook_listen", f"unix:/{'x' * 107}", "is not an address"),
        ("cache_dir", "", "cache_dir: '' is not a path"),
        ("cache_dir", "a\0b", "cache_dir: 'a\\x00b' is not a path"),
        ("cache_dir", "~nobody-here/x", "leads nowhere"),
        ("api_url", "ftp://x", "api_url: 'ftp://x' is not an http or https URL"),
        ("api_url", "https://", "is not an http or https URL"),
        ("api_url", "https://x:99999/", "is not an http or https URL"),
        ("api_url", "https://[::1/v1", "is not an http or https URL"),
        ("api_url", "https://a b/", "is not an http or https URL"),
        ("api_url", "https://a\nb/", "'https://a\\nb/' is not"),
    ],
)
def test_a_bad_value_is_one_clear_line(name: str, text: str, reason: str, environ: dict[str, str]) -> None:
    """A bad value is refused with its name, itself and what would do."""
    assert reason in refusal({name: text}, environ)


@pytest.mark.parametrize("url", ["https://me:hunter2@x/", "https://x/?token=hunter2", "https://x/#hunter2"])
def test_an_url_that_may_hold_a_secret_is_not_repeated(url: str, environ: dict[str, str]) -> None:
    """User names, queries and fragments are refused without repeating any of the URL."""
    line = refusal({"api_url": url}, environ)
    assert line == "api_url: must be a plain URL without user name, query or fragment"


def test_a_long_or_wild_value_is_shortened_and_escaped(environ: dict[str, str]) -> None:
    """An echoed value takes no more than 60 characters and no control character."""
    line = refusal({"log_level": "\x1b[31m" + "x" * 500}, environ)
    assert "\\x1b" in line
    assert len(line.removeprefix("log_level: ").partition(" is not")[0]) <= 60


def test_a_key_in_the_wrong_place_is_masked(environ: dict[str, str]) -> None:
    """An API key given as the value of another setting does not come back in the error."""
    assert "hunter2" not in refusal({"log_level": "sk_live_hunter2"}, environ)
    assert "hunter2" not in refusal({"sk_live_hunter2": ""}, environ)
    assert "hunter2" not in refusal({"config": "/x/sk_test_hunter2"}, environ)


@given(name=st.sampled_from(sorted(Settings.model_fields)), text=st.text(max_size=80))
def test_any_text_is_read_or_refused_in_one_line(name: str, text: str) -> None:
    """Whatever the value, the outcome is settings or one line."""
    if name == "config":
        text = f"/nonexistent/{text}"
    try:
        load({name: text}, environ={"HOME": "/nonexistent"})
    except ConfigError as error:
        assert str(error).isprintable()  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize(
    "name", ["api_key", "API-KEY", "apikey", "key", "token", "api_token", "secret", "password", "bearer"]
)
def test_the_key_is_never_an_option(name: str, home: Path, environ: dict[str, str]) -> None:
    """A setting that looks like the key is refused in every source, and its value is not repeated."""
    expected = "the API key is never an option; use api_key_file or KALLGLOT_API_KEY"
    assert refusal({name: "hunter2"}, environ) == expected
    variable = f"KALLGLOTFS_{name.upper().replace('-', '_')}"
    assert refusal({}, environ | {variable: "hunter2"}) == expected
    write(home, f"[default]\n{name} = 'hunter2'\n")
    assert refusal({}, environ) == expected
    write(home, f"{name} = 'hunter2'\n")
    assert refusal({}, environ) == expected


def test_an_unknown_name_is_refused_with_the_nearest(home: Path, environ: dict[str, str]) -> None:
    """A misspelt setting is refused in every source, with the name that was meant."""
    assert (
        refusal({"memory_cach": "1"}, environ)
        == "unknown option 'memory_cach' (did you mean 'memory_cache'?)"
    )
    assert refusal({"qqq": "1"}, environ) == "unknown option 'qqq'"
    assert (
        refusal({}, environ | {"KALLGLOTFS_MEMORY_CACH": "1"})
        == "KALLGLOTFS_MEMORY_CACH: unknown setting (did you mean KALLGLOTFS_MEMORY_CACHE?)"
    )
    assert "did you mean KALLGLOTFS_TIMEOUT?" in refusal({}, environ | {"KALLGLOTFS_timeout": "1s"})
    file = write(home, "[default]\nmemory-cache = '1'\n")
    assert (
        refusal({}, environ)
        == f"{file}: [default] unknown setting 'memory-cache' (did you mean 'memory_cache'?)"
    )


def test_an_error_names_the_variable_it_comes_from(environ: dict[str, str]) -> None:
    """A bad value in the environment is refused by the variable's name."""
    line = refusal({}, environ | {"KALLGLOTFS_TIMEOUT": "soon"})
    assert line.startswith("KALLGLOTFS_TIMEOUT: 'soon'")


def test_an_empty_variable_counts_as_unset(environ: dict[str, str]) -> None:
    """A variable without a value leaves the default."""
    assert load({}, environ=environ | {"KALLGLOTFS_TIMEOUT": ""}).timeout == 20.0


def test_the_key_variable_is_no_setting(environ: dict[str, str]) -> None:
    """KALLGLOT_API_KEY in the environment does not trouble the settings."""
    load({}, environ=environ | {"KALLGLOT_API_KEY": "hunter2"})


def test_paths_are_absolute_and_the_tilde_is_expanded(
    home: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path means the same after the daemon has changed its directory."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", "/home/u")
    write(home, "[default]\nlog_file = 'log'\n")
    environ["KALLGLOTFS_STATE_DIR"] = "state"
    settings = load({"cache_dir": "cache", "api_key_file": "~/key"}, environ=environ)
    assert settings.cache_dir == home / "cache"
    assert settings.state_dir == home / "state"
    assert settings.log_file == home / "log"
    assert settings.api_key_file == Path("/home/u/key")


def test_the_flags_are_the_settings_of_truth() -> None:
    """A bare option can only turn on what is true or false."""
    assert {"allow_other", "backfill"} == FLAGS


def test_an_address_reads_as_it_is_written() -> None:
    """What a log names can be written into the settings."""
    for text in ("127.0.0.1:8787", "[::1]:8787", "localhost:1", "unix:/run/hooks.sock"):
        address = Settings.model_validate({"webhook_listen": text}).webhook_listen
        assert str(address) == text
        assert Settings.model_validate({"webhook_listen": address}).webhook_listen == address
