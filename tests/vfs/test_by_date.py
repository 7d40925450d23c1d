"""Days, from a real catalog: what is listed can be looked at, and costs nobody a request."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import FakeClock
from kallglotfs.catalog.catalog import Catalog
from kallglotfs.catalog.store import CatalogStore
from kallglotfs.errors import IsADirectory, NotADirectory, NotFound
from kallglotfs.model import Recording, Status
from kallglotfs.patience import Patience
from kallglotfs.vfs.by_date import ByDate
from kallglotfs.vfs.renditions import Renditions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kallglotfs.vfs.branch import Branch

MADE = datetime(2026, 3, 2, 9, 14, 46, tzinfo=UTC)


#: Without a zone, as Hypothesis wants its bounds.
LAST = datetime(9999, 12, 31, tzinfo=UTC).replace(tzinfo=None)


class Nobody:
    """Stands for service, storage and threads: nothing here asks them anything."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"{name} was asked for")


class Days:
    """A branch on a catalog file."""

    def __init__(self, path: Path, formats: tuple[str, ...] = ("native",), rate: int = 0) -> None:
        self.clock = FakeClock()
        self.clock.epoch = datetime(2026, 4, 1, tzinfo=UTC).timestamp()
        self.store = CatalogStore(path / "catalog.sqlite", self.clock)
        catalog = Catalog(self.store, Nobody(), Nobody(), self.clock, 1.0, lambda _: None, lambda _: None)
        self.branch = ByDate(catalog, Renditions(catalog, Nobody(), formats, rate, 0.0), 5.0)

    def save(self, *recordings: Recording) -> None:
        self.store.save(recordings)

    def names(self, *parts: str) -> list[str]:
        return [entry.name for entry in self.branch.entries(parts, self.patience())]

    def patience(self) -> Patience:
        return Patience(self.clock, 1.0, lambda: False)

    def walk(self, parts: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        """Yield every path, having looked at each: what is listed is there."""
        for name in self.names(*parts):
            path = (*parts, name)
            assert self.branch.attributes(path, self.patience()) is not None
            if len(path) <= 3:
                yield from self.walk(path)
            else:
                yield path


@pytest.fixture
def days(tmp_path: Path) -> Iterator[Days]:
    """An empty catalog."""
    made = Days(tmp_path)
    yield made
    made.store.close()


def one(number: int = 1, **fields: object) -> Recording:
    """Return a recording."""
    given: dict[str, object] = {"created_at": MADE, "channel": "agent", "duration": 41.2} | fields
    return replace(Recording(f"rec_{number}"), **given)  # type: ignore[arg-type]


def test_an_empty_catalog_has_no_days(days: Days) -> None:
    """The top is there."""
    assert days.names() == []
    with pytest.raises(NotFound):
        days.names("2026")


def test_a_recording_lies_on_its_day(days: Days) -> None:
    """Year, month, day, and a link whose name says when, who and how long."""
    days.save(one(), one(2, created_at=MADE + timedelta(days=40)), one(3, created_at=MADE.replace(year=1999)))
    assert days.names() == ["1999", "2026"]
    assert days.names("2026") == ["03", "04"]
    assert days.names("2026", "03", "02") == ["091446Z_agent_41s_rec_1.mp3"]
    attrs = days.branch.attributes(("2026", "03", "02", "091446Z_agent_41s_rec_1.mp3"), days.patience())
    assert attrs.target == "../../../../recordings/rec_1.mp3"
    assert attrs.mtime == MADE.timestamp()


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"channel": None, "duration": None}, "091446Z_rec_1.mp3"),
        ({"channel": "../x"}, "091446Z_41s_rec_1.mp3"),
        ({"channel": "a b"}, "091446Z_41s_rec_1.mp3"),
        ({"channel": "AGENT"}, "091446Z_41s_rec_1.mp3"),
        ({"channel": "x" * 300}, "091446Z_41s_rec_1.mp3"),
        ({"duration": -1.0}, "091446Z_agent_rec_1.mp3"),
        ({"duration": 1e300}, "091446Z_agent_rec_1.mp3"),
        ({"format": "flac"}, "091446Z_agent_41s_rec_1.flac"),
        ({"created_at": MADE.astimezone(None)}, "091446Z_agent_41s_rec_1.mp3"),
    ],
)
def test_what_is_not_told_or_odd_stands_in_no_name(days: Days, fields: dict[str, object], name: str) -> None:
    """The rest of the name stays."""
    days.save(one(**fields))
    assert [path[-1] for path in days.walk()] == [name]


@pytest.mark.parametrize(
    "fields",
    [
        {"created_at": None},
        {"status": Status.PROCESSING},
        {"status": Status.FAILED},
        {"expires_at": datetime(2026, 3, 31, tzinfo=UTC)},
    ],
)
def test_what_no_listing_shows_makes_no_day(days: Days, fields: dict[str, object]) -> None:
    """Not even a year."""
    days.save(one(**fields))
    assert days.names() == []
    with pytest.raises(NotFound):
        days.branch.attributes(("2026", "03", "02", "091446Z_agent_41s_rec_1.mp3"), days.patience())


@pytest.mark.parametrize(
    "parts",
    [
        ("2025",), ("26",), ("20260",), ("2026", "3"), ("2026", "13"), ("2026", "00"), ("2026", "03", "32"),
        ("2026", "02", "30"), ("0000",), ("9999", "12"), ("٢٠٢٦",), ("2026", "03", "01"),
        ("2026", "03", "02", "x"), ("2026", "03", "02", "091447Z_agent_41s_rec_1.mp3"),
        ("2026", "03", "02", "rec_1.mp3"), ("2026", "03", "02", "091446Z_agent_41s_rec_1.wav"),
        ("2026", "03", "02", "091446Z_agent_41s_rec_2.mp3"), ("2026", "03", "02", "x" * 255),
    ],
)  # fmt: skip
def test_other_names_are_not_there(days: Days, parts: tuple[str, ...]) -> None:
    """At no cost."""
    days.save(one())
    with pytest.raises(NotFound):
        days.branch.attributes(parts, days.patience())


def test_files_are_no_directories_and_directories_no_files(days: Days) -> None:
    """As POSIX has it."""
    days.save(one())
    link = ("2026", "03", "02", "091446Z_agent_41s_rec_1.mp3")
    with pytest.raises(NotADirectory):
        days.branch.entries(link, days.patience())
    with pytest.raises(NotADirectory):
        days.branch.attributes((*link, "x"), days.patience())
    with pytest.raises(IsADirectory):
        days.branch.text(("2026",), days.patience())


def test_all_formats_at_another_rate_are_shown(tmp_path: Path) -> None:
    """Each under a name of its own."""
    days = Days(tmp_path, ("mp3", "wav"), 8000)
    days.save(one())
    assert [path[-1] for path in days.walk()] == [
        "091446Z_agent_41s_rec_1@8000.mp3",
        "091446Z_agent_41s_rec_1@8000.wav",
    ]
    days.store.close()


def test_a_day_of_thousands_is_whole(days: Days) -> None:
    """More than a page, many in the same second."""
    days.save(*(one(number, created_at=MADE + timedelta(seconds=number // 900)) for number in range(2500)))
    names = days.names("2026", "03", "02")
    assert len(set(names)) == len(names) == 2500


def test_a_moment_that_rounding_has_made_impossible_spoils_no_listing(days: Days) -> None:
    """The last microsecond of the year 9999 is the year 10000 as a number."""
    days.save(one(1, created_at=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)), one(2))
    assert [path[-1] for path in days.walk()] == ["091446Z_agent_41s_rec_2.mp3"]


EDGES = st.one_of(
    st.datetimes(max_value=LAST, timezones=st.just(UTC)),
    st.sampled_from(
        [
            datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 1, tzinfo=UTC), datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC),
        ]
    ),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(EDGES, max_size=5))
def test_every_recording_is_found_once_whenever_it_was_made(moments: Iterable[datetime]) -> None:
    """From the year 1 to 9999."""
    with tempfile.TemporaryDirectory() as folder:
        days = Days(Path(folder))
        days.save(*(one(number, created_at=moment) for number, moment in enumerate(moments)))
        found = sorted(path[-1].rpartition("_")[2] for path in days.walk())
        days.store.close()
    assert found == sorted(f"{number}.mp3" for number, _ in enumerate(moments))


def branch_is_a_branch(branch: ByDate) -> Branch:
    """Hold the shape, for mypy."""
    return branch
