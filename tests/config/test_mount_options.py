"""The `-o` text of mount(8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallglotfs.config.mount_options import parse_options, split_options
from kallglotfs.config.settings import load
from kallglotfs.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        (",,", []),
        ("ro", [("ro", None)]),
        ("ro,,timeout=5s,", [("ro", None), ("timeout", "5s")]),
        ("timeout=", [("timeout", "")]),
        ("comment=a=b", [("comment", "a=b")]),
        (r"cache_dir=/a\,b,ro", [("cache_dir", "/a,b"), ("ro", None)]),
        (r"cache_dir=/a\\,ro", [("cache_dir", "/a\\"), ("ro", None)]),
        (r"cache_dir=/a\b", [("cache_dir", r"/a\b")]),
        ("cache_dir=/a\\", [("cache_dir", "/a\\")]),
        ('cache_dir="/a,b",ro', [("cache_dir", "/a,b"), ("ro", None)]),
        (r'cache_dir="/a\,b"', [("cache_dir", r"/a\,b")]),
        ('cache_dir=""', [("cache_dir", "")]),
        ('cache_dir=/a"b', [("cache_dir", '/a"b')]),
        ("x,x=1,x=2", [("x", None), ("x", "1"), ("x", "2")]),
    ],
)
def test_the_text_splits_at_its_commas(text: str, items: list[tuple[str, str | None]]) -> None:
    """Commas separate, backslashes and quotes protect."""
    assert parse_options(text) == items


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('cache_dir="/a,b', "option 'cache_dir': the closing quote is missing"),
        ('cache_dir="/a"b', "option 'cache_dir': only a comma can follow the closing quote"),
        ("=1", "an option has no name before its '='"),
    ],
)
def test_a_broken_text_is_refused(text: str, reason: str) -> None:
    """A text that cannot be split is refused in one line."""
    with pytest.raises(ConfigError) as caught:
        parse_options(text)
    assert str(caught.value) == reason


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="="), min_size=1),
            st.none() | st.text().filter(lambda value: not value.startswith('"')),
        )
    )
)
def test_escaped_options_read_back(items: list[tuple[str, str | None]]) -> None:
    """Whatever names and values hold, escaping brings them through."""

    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace(",", "\\,")

    text = ",".join(escaped(name) + ("" if value is None else f"={escaped(value)}") for name, value in items)
    assert parse_options(text) == items


def test_the_words_of_mount_and_fstab_are_accepted_silently() -> None:
    """What mount(8) passes to every helper is neither a setting nor an error."""
    words = (
        "rw ro defaults auto noauto user user=joe nouser users owner group _netdev nofail exec noexec suid "
        "nosuid dev nodev atime noatime relatime norelatime strictatime nostrictatime lazytime nolazytime "
        "diratime nodiratime sync async dirsync silent loud mand nomand iversion noiversion comment=x "
        "x-systemd.automount x-gvfs-name=a X-mount.mkdir uhelper=udisks2 helper=kallglotfs nosymfollow "
        "default_permissions"
    )
    found = split_options(parse_options(",".join(words.split())), sloppy=False)
    assert (found.settings, found.ignored) == ({}, ())


def test_settings_are_taken_and_the_last_one_counts() -> None:
    """Our settings come through, later ones over earlier ones."""
    found = split_options(parse_options("ro,timeout=5s,allow_other,timeout=9s"), sloppy=False)
    assert found.settings == {"timeout": "9s", "allow_other": "true"}


@pytest.mark.parametrize(("text", "value"), [("allow_other", True), ("allow_other=no", False)])
def test_a_flag_needs_no_value(text: str, value: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A bare flag means true, and it can be said to be false."""
    found = split_options(parse_options(text), sloppy=False)
    assert load(found.settings, environ={"HOME": "/nonexistent"}).allow_other is value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("timeout", "option 'timeout' needs a value (timeout=…)"),
        ("memory_cach=1", "unknown option 'memory_cach' (did you mean 'memory_cache'?)"),
        ("nofial", "unknown option 'nofial' (did you mean 'nofail'?)"),
        ("a\nb", "unknown option 'a\\nb'"),
        ("remount", "'remount' is not supported: unmount and mount again"),
        ("bind", "'bind' is not supported: unmount and mount again"),
        ("move", "'move' is not supported: unmount and mount again"),
        ("fsname=x", "option 'fsname' is fixed: a mount shows its profile and fuse.kallglotfs"),
        ("subtype=x", "option 'subtype' is fixed: a mount shows its profile and fuse.kallglotfs"),
        ("api_key=hunter2", "the API key is never an option; use api_key_file or KALLGLOT_API_KEY"),
        ("sk_live_hunter2", "the API key is never an option; use api_key_file or KALLGLOT_API_KEY"),
    ],
)
def test_what_cannot_be_had_is_refused(text: str, reason: str) -> None:
    """An option that means nothing here is refused in one line."""
    with pytest.raises(ConfigError) as caught:
        split_options(parse_options(text), sloppy=False)
    assert str(caught.value) == reason


def test_sloppy_passes_over_unknown_options_only() -> None:
    """With -s unknown options are ignored, while a key or a remount is refused all the same."""
    found = split_options(parse_options("quota,timeout=5s,vers=3"), sloppy=True)
    assert (found.settings, found.ignored) == ({"timeout": "5s"}, ("quota", "vers"))
    for text in ("api_key=hunter2", "remount", "fsname=x"):
        with pytest.raises(ConfigError):
            split_options(parse_options(text), sloppy=True)


def test_mount_options_do_not_show_values() -> None:
    """The repr holds no value, for one of them may be a secret in the wrong place."""
    assert "hunter2" not in repr(split_options([("x", "hunter2"), ("log_file", "hunter2")], sloppy=True))
