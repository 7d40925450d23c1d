"""Open files and the kernel's pages: never a page of another version."""

from __future__ import annotations

import pytest

from kallglotfs.content.reader import Content
from kallglotfs.errors import BadHandle
from kallglotfs.model import Rendition, Validator
from kallglotfs.vfs.handles import Handles

FILE = Rendition("rec_1", "mp3")
OLD, NEW = Validator(10, '"old"'), Validator(11, '"new"')


def test_pages_are_kept_while_the_version_stays() -> None:
    """The first open finds none, and need not wait for them to be dropped."""
    handles = Handles()
    first = handles.add(Content(FILE, OLD))
    assert (first.keep_cache, first.direct_io) == (True, False)
    handles.remove(first.number)
    again = handles.add(Content(FILE, OLD))
    assert (again.keep_cache, again.direct_io) == (True, False)


def test_a_file_that_may_be_forgotten_has_its_pages_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows which version they are of."""
    monkeypatch.setattr("kallglotfs.vfs.handles.MOST_REMEMBERED", 2)
    handles = Handles()
    for index in range(3):
        content = Content(Rendition(f"rec_{index}", "mp3"), OLD)
        assert handles.add(content).keep_cache
    assert not handles.add(Content(Rendition("rec_0", "mp3"), NEW)).keep_cache
    assert not handles.add(Content(Rendition("rec_9", "mp3"), NEW)).keep_cache


def test_another_version_drops_the_pages() -> None:
    """Once nobody has the old one open."""
    handles = Handles()
    handles.remove(handles.add(Content(FILE, OLD)).number)
    fresh = handles.add(Content(FILE, NEW))
    assert (fresh.keep_cache, fresh.direct_io) == (False, False)


def test_two_versions_open_at_once_do_not_share_pages() -> None:
    """The new one passes the page cache by until the old one is closed."""
    handles = Handles()
    old = handles.add(Content(FILE, OLD))
    new = handles.add(Content(FILE, NEW))
    assert new.direct_io
    assert not handles.add(Content(FILE, OLD)).direct_io
    for number in (old.number, new.number, new.number + 1):
        handles.remove(number)
    after = handles.add(Content(FILE, NEW))
    assert (after.keep_cache, after.direct_io) == (False, False)


def test_the_last_to_close_is_told() -> None:
    """Then nobody needs what was fetched ahead."""
    handles = Handles()
    content = Content(FILE, OLD)
    one, two = handles.add(content), handles.add(Content(FILE, OLD))
    assert handles.remove(two.number) is None
    assert handles.remove(one.number) is content
    assert handles.count() == 0
    with pytest.raises(BadHandle):
        handles.get(one.number)


def test_the_size_by_which_the_kernel_knows_a_path_is_remembered() -> None:
    """What it was never told, or is forgotten, is taken to be right."""
    handles = Handles()
    assert handles.is_shown("/a", 5)
    handles.show("/a", 0)
    assert not handles.is_shown("/a", 5)
    assert handles.is_shown("/b", 5)
    handles.show("/a", 5)
    assert handles.is_shown("/a", 5)
