"""The watched file of ids, as it is written, replaced, cut and broken."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from kallglotfs.catalog.adding import Outcome, Result
from kallglotfs.catalog.ids_file import AGAIN, AT_ONCE, LOOK, IdsFile
from kallglotfs.errors import Unreachable

if TYPE_CHECKING:
    from pathlib import Path

    from kallglotfs.catalog.sources import Step


class Adder:
    """Knows every id that begins like one; counts what it was asked for."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.asked: list[str] = []
        self.results: dict[str, Result] = {}
        self.error: Exception | None = None

    def add(self, text: str) -> Outcome:
        if text in self.known and text.startswith("rec_"):
            return Outcome(text, Result.KNOWN)
        if not text.startswith(("rec_", "sess_")):
            return Outcome(text, Result.BAD)
        self.asked.append(text)
        if self.error is not None:
            raise self.error
        result = self.results.get(text, Result.KNOWN if text in self.known else Result.ADDED)
        if result is Result.ADDED:
            self.known.add(text)
        return Outcome(text, result, int(result is Result.ADDED))


class World:
    """A source and its file."""

    def __init__(self, path: Path) -> None:
        self.path = path / "ids"
        self.adder = Adder()
        self.source = IdsFile(self.path, self.adder)
        self.position = ""

    def write(self, text: str | bytes) -> None:
        """Replace the file, as careful programs do."""
        other = self.path.with_name("other")
        other.write_bytes(text if isinstance(text, bytes) else text.encode())
        other.replace(self.path)

    def run(self) -> Step:
        """Go on until the source wants to rest."""
        for _ in range(10_000):
            step = self.source.step(self.position)
            self.position = step.position
            if step.pause:
                return step
        raise AssertionError("it does not come to rest")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """No file yet."""
    return World(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "rec_a\nrec_b\n",
        "\ufeffrec_a\r\nrec_b",
        "# all\n\n rec_a \nrec_b\nrec_a\n",
        "name;id\nx;rec_a\ny;rec_b\n",
        "\ufeffid,name\nrec_a,\nrec_b,\n",
        '{"id": "rec_a"}\n{"id": "rec_b"}\n',
    ],
)
def test_every_form_of_a_list_is_read(world: World, text: str) -> None:
    """One request for each id."""
    world.write(text)
    assert world.run().pause == LOOK
    assert world.adder.asked == ["rec_a", "rec_b"]
    world.run()
    assert len(world.adder.asked) == 2


def test_a_file_may_come_later_and_go_again(world: World) -> None:
    """Which is told, and no failure."""
    assert "not there" in world.run().note
    world.write("rec_a")
    assert world.run().note == ""
    world.path.unlink()
    assert "not there" in world.run().note
    world.write("rec_a\nrec_b")
    world.run()
    assert world.adder.asked == ["rec_a", "rec_b"]


def test_a_file_that_is_replaced_halfway_is_read_anew(world: World) -> None:
    """What was added is known by then."""
    world.write("rec_a\nrec_b\nrec_c\n")
    world.source.step("")
    world.write("rec_a\nrec_d\n")
    world.run()
    assert world.adder.asked == ["rec_a", "rec_d"]


def test_a_file_that_is_cut_while_it_is_read_is_read_as_it_is_then(world: World) -> None:
    """Truncated and written again in place."""
    world.path.write_text("rec_a\nrec_b\n")
    world.source.step("")
    world.path.write_text("")
    world.run()
    world.path.write_text("rec_a\nrec_c\n")
    world.run()
    assert world.adder.asked == ["rec_a", "rec_c"]


@pytest.mark.parametrize(
    "text", [b"\xff\xfe\0r\0e", b"\0" * 1000, b"x" * 1_000_000, b'{"id": 5}\n{', b"\xd8\n"]
)
def test_garbage_is_counted_and_costs_nothing(world: World, text: bytes) -> None:
    """And does not stop the source."""
    world.write(text)
    assert "no known id" in world.run().note
    assert world.adder.asked == []


def test_what_is_no_file_is_not_waited_for(world: World) -> None:
    """A directory, a pipe without a writer, a device without an end, a link in a circle."""
    world.path.mkdir()
    assert "not a file" in world.run().note
    world.path.rmdir()
    os.mkfifo(world.path)
    assert "not a file" in world.run().note
    world.path.unlink()
    world.path.symlink_to("/dev/zero")
    assert "not a file" in world.run().note
    world.path.unlink()
    world.path.symlink_to(world.path)
    assert "not there" in world.run().note


def test_what_takes_the_files_place_meanwhile_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that comes between the look at a file and its reading is no file either."""
    world.write("rec_a\n")
    stamp = world.source._stamp()
    world.path.unlink()
    os.mkfifo(world.path)
    monkeypatch.setattr(world.source, "_stamp", lambda: stamp)
    assert "not a file" in world.source.step("").note


def test_an_id_that_nobody_could_answer_for_is_tried_again(world: World) -> None:
    """A network that is down loses no line."""
    world.write("rec_a\nrec_b\n")
    world.adder.error = Unreachable("down")
    for _ in range(3):
        with pytest.raises(Unreachable):
            world.run()
    world.adder.error = None
    world.run()
    assert world.adder.known == {"rec_a", "rec_b"}


def test_an_id_that_was_refused_is_tried_again_later(world: World) -> None:
    """The file does not count as read before."""
    world.write("rec_a\nrec_b\n")
    world.adder.results = {"rec_a": Result.FAILED}
    assert world.run().pause == AGAIN
    assert world.position == ""
    world.adder.results = {}
    assert world.run().pause == LOOK
    assert world.adder.known == {"rec_a", "rec_b"}


def test_ids_that_nobody_knows_do_not_cost_a_request_at_every_line(world: World) -> None:
    """Forty lines are added one by one: the unknown one is asked for at growing distances."""
    world.adder.results = {"rec_x": Result.UNKNOWN}
    for count in range(40):
        world.write("rec_x\n" + "".join(f"rec_{number}\n" for number in range(count)))
        assert "1 lines" in world.run().note
    assert 3 <= world.adder.asked.count("rec_x") <= 6
    assert len(world.adder.known) == 39


def test_a_session_is_listed_once_however_often_the_file_changes(world: World) -> None:
    """It costs a request whether it brings anything or not."""
    for count in range(5):
        world.write("sess_a\n" + "".join(f"rec_{number}\n" for number in range(count)))
        world.run()
    assert world.adder.asked.count("sess_a") == 1


def test_a_hundred_thousand_known_ids_cost_nothing_and_let_others_take_turns(world: World) -> None:
    """A step passes over a thousand."""
    ids = [f"rec_{number}" for number in range(20 * AT_ONCE)]
    world.adder.known = set(ids)
    world.write("\n".join([*ids, "rec_new"]))
    steps = 0
    while not (step := world.source.step(world.position)).pause:
        world.position = step.position
        steps += 1
    assert steps >= 20
    assert world.adder.asked == ["rec_new"]


def test_json_lines_may_be_of_any_kind(world: World) -> None:
    """Lines without an id are counted."""
    world.write(
        "\n".join(json.dumps(each) for each in ({"id": "rec_a"}, [], None, {"id": None}, {"id": "rec_b"}))
    )
    assert "3 lines" in world.run().note
    assert world.adder.asked == ["rec_a", "rec_b"]
