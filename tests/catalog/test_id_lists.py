"""Lists of ids in the forms people have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallglotfs.catalog.id_lists import Entry, read_ids


def ids(text: str) -> list[str | None]:
    """Return the ids of a text."""
    return [entry.text for entry in read_ids(text.splitlines(keepends=True))]


@pytest.mark.parametrize(
    "text",
    [
        "rec_1\nrec_2\n",
        "\ufeffrec_1\r\nrec_2\r\n",
        "# mine\n\n  rec_1  \nrec_2",
        "id\nrec_1\nrec_2\n",
        "id,duration\nrec_1,5\nrec_2,6\n",
        'duration;ID\n"5;5";rec_1\n6;rec_2\n',
        "a\tid\n1\trec_1\n2\trec_2\n",
        '{"id": "rec_1", "x": 1}\n{"id": "rec_2"}\n',
    ],
)
def test_every_form_gives_the_same_ids(text: str) -> None:
    """Plain, CSV and JSON lines, told by their first line."""
    assert ids(text) == ["rec_1", "rec_2"]


def test_a_line_without_an_id_is_told_with_its_number() -> None:
    """It stops nothing."""
    entries = list(read_ids(["id,x\n", "rec_1,1\n", "\n", '{"id": 5}\n']))
    assert [(entry.line, entry.text) for entry in entries] == [(2, "rec_1"), (4, '{"id": 5}')]
    bad = list(read_ids(['{"id": "rec_1"}', "nonsense", '{"id": 7}', "[]", '{"x": 1}']))
    assert [(entry.line, entry.text) for entry in bad] == [
        (1, "rec_1"),
        (2, None),
        (3, None),
        (4, None),
        (5, None),
    ]
    assert [entry.text for entry in read_ids(["x,id\n", "only\n"])] == [None]


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    """Whatever is piped in."""
    ids(text)


def test_lines_from_hell_are_lines_without_an_id() -> None:
    """Nested without end, or a cell of a megabyte."""
    deep = '{"id": ' + "[" * 200_000
    assert list(read_ids(['{"id": "rec_1"}', deep])) == [Entry(1, "rec_1"), Entry(2, None)]
    assert next(read_ids(["id,name", "x" * 200_000 + ",y"])).text is None
