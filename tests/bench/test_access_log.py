"""Bytes that the storage sent are added up, and those sent twice are found."""

from __future__ import annotations

from bench.access_log import overlap, parse, tally


def line(path: str, status: int, sent: int, content_range: str, method: str = "GET") -> str:
    return f"1.5\t{method}\t{status}\t{path}\t{sent}\t{content_range}\t0.031\n"


def test_pieces_side_by_side_overlap_nowhere() -> None:
    """Half-open pieces that touch share no byte."""
    assert overlap([(10, 20), (0, 10), (20, 21)]) == 0


def test_each_repetition_counts() -> None:
    """A byte sent three times was sent twice too often."""
    assert overlap([(0, 10), (0, 10), (5, 7)]) == 12


def test_a_piece_inside_another_does_not_hide_the_next() -> None:
    """What a long piece covers stays covered after a short one."""
    assert overlap([(0, 100), (10, 20), (50, 60)]) == 20


def test_a_cut_answer_counts_as_far_as_it_got() -> None:
    """A client that went away is charged for what was sent, from where it began."""
    requests = parse(
        [
            line("/signed/a", 206, 50, "bytes 0-99/200"),
            line("/signed/a", 206, 150, "bytes 50-199/200"),
            line("/signed/b", 206, 200, "bytes 0-199/200"),
        ]
    )
    assert str(tally(requests)) == "3 storage requests, 400 bytes, 0 twice"


def test_refusals_and_heads_bring_no_bytes() -> None:
    """Only a body of a 200 or 206 is content."""
    found = tally(parse([line("/a", 403, 146, "-"), line("/a", 200, 0, "-", "HEAD"), "nonsense\n"]))
    assert (found.requests, found.sent, found.refused) == (2, 0, 1)
