"""Whatever the service answers: values within bounds or an error of ours, and a text that holds one line."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conftest import wait_until
from kallglotfs.catalog.store import CatalogStore
from kallglotfs.clock import Clock
from kallglotfs.errors import KallglotError, NotFound
from kallglotfs.model import Delivery, Rendition
from kallglotfs.remote.api import MOST_PAGES
from kallglotfs.remote.fields import LARGEST
from kallglotfs.remote.schema import ListObject, RecordingObject, parse, parse_error
from kallglotfs.vfs.attributes import attributes_of
from scripted import Asked, reply, scripted
from tests.remote.conftest import Wired

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.model import Recording

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
DEEP = b'{"id":' + b"[" * 100_000
MP3 = Rendition("rec_1", "mp3")
#: Requests that one question may cost, whatever comes back: two routes, each tried again for five seconds.
MOST_TRIES = 30

FIELDS = list(RecordingObject.model_fields)
#: Values that have hurt others.
ODD = st.sampled_from(
    [
        *(None, True, False, "", "12", "NaN", "\ud800", "a\nb", "\u202e", "\0", "rec_1", "x" * 1000, [], {}),
        *(0, -1, 2**31, 2**50 + 1, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, 1e308),
        *(float("inf"), float("-inf"), float("nan")),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-02", "2026-02-30T00:00:00Z"),
        *("http://[", "//evil/x", "file:///etc/passwd", "https://u:p@h/x", "/v1/recordings/rec_1/audio"),
    ]
)
JSON = st.recursive(
    ODD | st.text(max_size=20) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
RECORDINGS = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON, max_size=len(FIELDS))
PAGES = st.fixed_dictionaries(
    {}, optional={"data": st.lists(RECORDINGS | JSON, max_size=4), "has_more": JSON}
)
ERRORS = st.fixed_dictionaries(
    {"error": st.dictionaries(st.sampled_from(["code", "request_id"]), JSON) | JSON}
)
DOCUMENTS = (RECORDINGS | PAGES | ERRORS | JSON).map(lambda value: json.dumps(value).encode())


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Documents, some of them with a few bytes changed, cut off or put before."""
    body = bytearray(draw(DOCUMENTS))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(0, len(body) - 1)))
        body[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(body)


def check(recording: Recording) -> None:
    """Make sure that the rest of the package can work with a recording."""
    assert recording.size is None or 0 <= recording.size <= LARGEST
    assert recording.duration is None or (math.isfinite(recording.duration) and recording.duration >= 0)
    for number in (recording.sample_rate, recording.bit_depth):
        assert number is None or (not isinstance(number, bool) and 0 <= number < 2**31)
    for text in (recording.session_id, recording.channel, recording.format):
        assert text is None or (text.isascii() and text.isprintable())
    for moment in (recording.created_at, recording.expires_at):
        assert moment is None or 946_684_800 <= moment.timestamp() <= 7_258_118_400
    for value in attributes_of(recording, recording.native()).values():
        assert value.decode("ascii").isprintable()


def read_all(body: bytes) -> list[Recording]:
    """Take a body for everything that it may be taken for."""
    found = []
    for model in (RecordingObject, ListObject):
        with contextlib.suppress(ValueError):
            parsed = parse(model, body)
            items = [] if parsed is None else parsed.data if isinstance(parsed, ListObject) else [parsed]
            found += [item.to_recording("rec_1", Delivery.SIGNED) for item in items]
    parse_error(body)
    return found


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_the_corpus_is_read_within_bounds(path: Path) -> None:
    """Every file of it: a value within bounds, or none."""
    for recording in read_all(path.read_bytes()):
        check(recording)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("bom.json", {"size": 5}),
        ("size_text.json", {"size": 12}),
        ("size_true.json", {"size": None}),
        ("size_2_63.json", {"size": None}),
        ("duplicated_keys.json", {"size": 3}),
        ("dates_naive.json", {"created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}),
        ("dates_offset.json", {"created_at": datetime(2026, 1, 1, 21, 34, 5, tzinfo=UTC)}),
        ("dates_far.json", {"created_at": None, "expires_at": None}),
        ("session_newline.json", {"session_id": None, "channel": None}),
    ],
)
def test_what_is_meant_is_understood_and_the_rest_was_not_sent(name: str, fields: dict[str, object]) -> None:
    """And what was passed over is named."""
    found = parse(RecordingObject, next(path for path in CORPUS if path.name == name).read_bytes())
    assert found is not None
    recording = found.to_recording("rec_1", Delivery.SIGNED)
    assert {field: getattr(recording, field) for field in fields} == fields
    assert set(found.odd) >= {field for field, value in fields.items() if value is None}


@example(DEEP)
@example(b"\xff")
@given(bodies())
@settings(max_examples=120, deadline=None)
def test_any_body_is_a_value_or_none(body: bytes) -> None:
    """No exception but that it is not JSON, and no value that cannot be worked with."""
    for recording in read_all(body):
        check(recording)


def test_whatever_is_understood_can_be_kept(tmp_path: Path) -> None:
    """The catalog takes every recording that the corpus gives, and gives it back."""
    with contextlib.closing(CatalogStore(tmp_path / "state" / "catalog", Clock())) as store:
        for path in CORPUS:
            for recording in read_all(path.read_bytes()):
                store.save([recording])
                assert store.recording("rec_1") is not None


@pytest.fixture(scope="module")
def servers() -> Iterator[Wired]:
    """Both origins, up for the module; `wired_to` starts afresh on them."""
    with scripted() as api, scripted() as storage:
        yield Wired(api, storage)


def wired_to(servers: Wired) -> Wired:
    """Return parts that have learned nothing yet."""
    servers.api_server.asked.clear()
    servers.storage_server.asked.clear()
    return Wired(servers.api_server, servers.storage_server)


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Location": st.sampled_from(["http://[", "/x", "file:///x", "//:0/x", "http://127.0.0.1:1/x?y"])
        | TEXTS,
        "Retry_After": st.sampled_from(["-1", "1e9", "nan", "Thu, 01 Jan 1970 00:00:00 GMT"]) | TEXTS,
        "Date": TEXTS,
        "X_Request_ID": TEXTS,
        "X_RateLimit_Limit": st.sampled_from(["-1", "0", "nan", "1e400", "9" * 5000]) | TEXTS,
        "X_RateLimit_Remaining": st.sampled_from(["-1", "1e400", "x"]) | TEXTS,
        "X_RateLimit_Reset": st.sampled_from(["-1", "1e400", "0", "inf"]) | TEXTS,
        "Content_Encoding": st.sampled_from(["gzip", "br", "identity", "x"]),
        "Content_Type": TEXTS,
    },
)
STATUSES = st.sampled_from(
    [200, 200, 200, 204, 206, 301, 302, 304, 400, 402, 403, 404, 405, 409, 410, 416, 422, 429, 500]
)
ANSWERS = st.tuples(STATUSES, HEADERS, bodies())


def encoded(answer: tuple[int, dict[str, str], bytes]) -> bytes:
    """Return an answer as it goes over the wire."""
    status, headers, body = answer
    sent = {
        name: value.encode("latin-1", "replace").decode("latin-1").strip() for name, value in headers.items()
    }
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in sent.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def ask_everything(wired: Wired) -> None:
    """Ask every route; nothing but errors of ours may come out of it."""
    questions = [
        lambda: check(wired.service.look_up(MP3, wired.deadline())),
        lambda: wired.service.lease(MP3, wired.deadline()),
        lambda: wired.service.lease(Rendition("rec_1", "ogg", 8000), wired.deadline()),
        lambda: [
            check(each)
            for each in itertools.islice(wired.service.session_recordings("sess_1", wired.deadline()), 500)
        ],
        lambda: wired.api.check_key(wired.deadline()),
        lambda: wired.storage.open(MP3, 0, 10, None, wired.deadline()).close(),
    ]
    for question in questions:
        before = len(wired.api_server.asked)
        try:
            question()
        except KallglotError as error:
            assert str(error).isprintable(), error  # noqa: PT017
            assert wired.key not in str(error)  # noqa: PT017
        assert len(wired.api_server.asked) - before <= MOST_TRIES


@given(st.lists(ANSWERS, min_size=1, max_size=4))
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_answers_are_values_or_errors_of_ours(
    servers: Wired, answers: list[tuple[int, dict[str, str], bytes]]
) -> None:
    """Status, headers and body at random, at every route; the number of requests has an end."""
    wired = wired_to(servers)
    turn = itertools.cycle([encoded(answer) for answer in answers])
    wired.api_server.answer = wired.storage_server.answer = lambda _: next(turn)
    ask_everything(wired)
    assert wired.api_server.asked


@pytest.mark.parametrize("status", [200, 302, 400, 404])
def test_the_corpus_at_every_route(servers: Wired, status: int) -> None:
    """Every file of it, as an answer and as a refusal."""
    for path in CORPUS:
        wired = wired_to(servers)
        body = reply(status, path.read_bytes())
        wired.api_server.answer = lambda _, body=body: body
        wired.storage_server.answer = lambda _: reply(404)
        ask_everything(wired)


def test_what_is_passed_over_is_counted(servers: Wired) -> None:
    """Answers, items of lists and fields, so that somebody can look."""
    wired = wired_to(servers)
    junk = next(path for path in CORPUS if path.name == "page_of_junk.json").read_bytes()
    odd = b'{"id":"rec_1","size":-1,"channel":7,"status":"ready"}'
    wired.api_server.answer = lambda asked: reply(200, junk if "sessions" in asked.path else odd)
    assert list(wired.service.session_recordings("sess_1", wired.deadline())) == []
    wired.service.look_up(MP3, wired.deadline())
    wired.api_server.answer = lambda _: reply(200, b"<html>")
    with pytest.raises(KallglotError):
        wired.service.look_up(MP3, wired.deadline())
    counts = wired.api.oddities.counts()
    assert counts["items of lists"] == 7
    assert counts["fields of recordings"] == 2
    assert counts["answers"] == len(wired.api_server.asked) - 2


def test_a_list_that_grows_for_ever_is_left_at_a_known_price(servers: Wired) -> None:
    """New ids on every page, and always more: a hundred requests and no more."""
    wired = wired_to(servers)
    number = itertools.count()

    def answer(_: Asked) -> bytes:
        items = [{"id": f"rec_{next(number)}", "status": "ready"} for _ in range(2)]
        return reply(200, json.dumps({"data": items, "has_more": True}).encode())

    wired.api_server.answer = answer
    found = list(wired.service.session_recordings("sess_1", wired.deadline()))
    assert len(found) == len({each.id for each in found}) == 2 * MOST_PAGES
    assert len(wired.api_server.asked) == MOST_PAGES


def test_a_refusal_of_ten_megabytes_is_not_read(servers: Wired) -> None:
    """It is dropped after the first 64 KiB, whatever is in it."""
    wired = wired_to(servers)
    wired.api_server.answer = lambda _: reply(404, b'{"error":{"code":"' + b"x" * 10_000_000 + b'"}}')
    with pytest.raises(NotFound):
        wired.api.metadata("rec_1", wired.deadline())
    assert wait_until(lambda: len(wired.api_server.asked) == 1)
