"""The receiver over real sockets: what is answered, what is counted, and what is left behind."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import sqlite3
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from waitress.trigger import trigger

from conftest import wait_until
from kallglotfs.catalog.intake import Intake
from kallglotfs.catalog.store import CatalogStore
from kallglotfs.clock import Clock
from kallglotfs.config.addresses import Address
from kallglotfs.demo.webhooks import signature
from kallglotfs.errors import MountError
from kallglotfs.model import Secret
from kallglotfs.vfs.naming import is_recording_id, is_session_id
from kallglotfs.webhooks.counts import Tally
from kallglotfs.webhooks.endpoint import Endpoint
from kallglotfs.webhooks.events import EventReader
from kallglotfs.webhooks.listening import Listening
from kallglotfs.webhooks.receiver import Receiver
from kallglotfs.webhooks.secrets import WebhookSecrets
from kallglotfs.webhooks.server import Limits, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "whsec_receiver"
LOCAL = Address("127.0.0.1", 0)


def event(number: int = 1, kind: str = "recording.ready", **subject: object) -> bytes:
    """Return a body."""
    about = {"id": f"rec_{number}", "session_id": "sess_1", "size": 1000 + number} | subject
    return json.dumps({"id": f"evt_{number}", "type": kind, "data": about}).encode()


def signed(body: bytes, secret: str = SECRET, moment: float | None = None) -> dict[str, str]:
    """Return the headers of a delivery."""
    return {"Kallglot-Signature": signature(secret, int(time.time() if moment is None else moment), body)}


@dataclass
class Running:
    """A receiver that runs."""

    port: int
    store: CatalogStore
    tally: Tally
    secret_file: Path
    stop: Callable[[], None]
    noted: list[str] = field(default_factory=list)

    def connect(self) -> socket.socket:
        """Connect."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def ask(self, method: str, body: bytes | None, headers: dict[str, str], path: str = "/hooks") -> int:
        """Send one request on a connection of its own; the answer never has a body."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            assert answer.read() == b""
            assert answer.getheader("Server") is None
            return answer.status

    def post(self, body: bytes, headers: dict[str, str] | None = None) -> int:
        """Deliver a body, signed unless told otherwise."""
        return self.ask("POST", body, signed(body) if headers is None else headers)

    def raw(self, text: bytes) -> list[int]:
        """Send bytes and return the statuses of all that is answered until the connection is closed."""
        with self.connect() as connection:
            connection.sendall(text)
            return statuses(connection)

    def known(self) -> list[str]:
        """Return the ids of the recordings that are listed."""
        return [recording.id for recording in self.store.listed(0)]


def statuses(connection: socket.socket) -> list[int]:
    """Read what comes until the end and return the statuses in it."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return [int(line.split()[1]) for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.")]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Give a maker of receivers, which all end with the test, threads and address included."""
    made: list[Running] = []
    secret_file = tmp_path / "hook"
    secret_file.write_text(f"{SECRET}\n")
    secret_file.chmod(0o600)
    clock = Clock()
    store = CatalogStore(tmp_path / "state" / "default.sqlite", clock)
    before = set(threading.enumerate())

    def make(limits: Limits | None = None, address: Address = LOCAL) -> Running:
        noted: list[str] = []
        tally = Tally(clock)
        receiver = Receiver(
            Intake(store.database, noted.append, clock),
            EventReader(is_recording_id, is_session_id),
            WebhookSecrets(secret_file, {}).read,
            tally,
            clock,
        )
        listening = Listening(address)
        server = Server(receiver, listening, limits)
        server.start()
        made.append(Running(listening.port, store, tally, secret_file, server.stop, noted))
        return made[-1]

    yield make
    for running in made:
        running.stop()
    store.close()
    assert wait_until(lambda: set(threading.enumerate()) <= before), "a thread was left"


def test_a_good_delivery_is_stored_and_then_answered(run: Callable[..., Running]) -> None:
    """On any path; the mount is told, and its size is known without a request."""
    running = run()
    assert running.post(event()) == HTTPStatus.OK
    assert running.known() == ["rec_1"]
    assert running.noted == ["rec_1"]
    assert running.store.total_bytes() == 1001
    assert running.ask("POST", event(2), signed(event(2)), "/") == HTTPStatus.OK
    assert str(running.tally.counts()) == "2 received: 2 stored, 0 known already, 0 refused, 0 failed"


def test_a_replayed_delivery_changes_nothing(run: Callable[..., Running]) -> None:
    """The same bytes again, or the same event signed anew, are answered well and not applied."""
    running = run()
    body = event()
    headers = signed(body)
    assert running.post(body, headers) == HTTPStatus.OK
    assert running.post(body, headers) == HTTPStatus.OK
    later = event(size=7)
    assert running.post(later, signed(later, moment=time.time() + 60)) == HTTPStatus.OK
    counts = running.tally.counts()
    assert (counts.received, counts.stored, counts.duplicates) == (3, 1, 2)
    assert running.store.total_bytes() == 1001
    assert counts.last_event is not None


def test_anything_off_with_the_signature_is_401(run: Callable[..., Running]) -> None:
    """Whatever the body holds, and nothing is stored."""
    running = run()
    body = event()
    moment = int(time.time())
    tries = {
        "signature missing": {},
        "signature malformed": {"Kallglot-Signature": "nonsense"},
        "signature stale": signed(body, moment=moment - 400),
        "signature forged": signed(body, "another secret"),
    }
    for headers in tries.values():
        assert running.post(body, headers) == HTTPStatus.UNAUTHORIZED
        assert running.post(b"{not JSON", headers) == HTTPStatus.UNAUTHORIZED
    assert running.post(body, signed(body, moment=moment + 400)) == HTTPStatus.UNAUTHORIZED
    assert running.post(body + b" ", signed(body)) == HTTPStatus.UNAUTHORIZED
    twice = f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    for header in ("Kallglot-Signature: t=1,v1=00", f"Kallglot-Signature: {signature(SECRET, moment, body)}"):
        twice += f"{header}\r\n"
    assert running.raw(f"{twice}\r\n".encode() + body) == [HTTPStatus.UNAUTHORIZED]
    counts = running.tally.counts()
    assert counts.refused == dict.fromkeys(tries, 2) | {
        "signature stale": 3,
        "signature forged": 3,
        "signature malformed": 3,
    }
    assert counts.received == sum(counts.refused.values()) == 11
    assert running.known() == []


def test_signed_nonsense_is_400(run: Callable[..., Running]) -> None:
    """The secret is right, what it signs is not: trying again would not help."""
    running = run()
    for body in (b"", b"{", event(kind=""), event(id="../../etc/passwd"), b"\xff"):
        assert running.post(body) == HTTPStatus.BAD_REQUEST
    assert running.tally.counts().refused == {"not JSON": 3, "not an event": 1, "not about a recording": 1}
    assert running.known() == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_another_method_is_405(method: str, run: Callable[..., Running]) -> None:
    """Even where it is signed."""
    running = run()
    assert running.ask(method, None, {}) == HTTPStatus.METHOD_NOT_ALLOWED
    assert running.ask(method, event(), signed(event())) == HTTPStatus.METHOD_NOT_ALLOWED
    assert running.tally.counts().refused == {"wrong method": 2}


def test_a_body_of_256_kib_is_taken_and_no_byte_more(run: Callable[..., Running]) -> None:
    """A larger one is refused by its announcement alone, asked for or not."""
    running = run()
    body = event()
    full = body + b" " * (256 * 1024 - len(body))
    assert running.post(full) == HTTPStatus.OK
    for expect in ("", "Expect: 100-continue\r\n"):
        for length in (len(full) + 1, 10**12):
            head = f"POST / HTTP/1.1\r\nHost: x\r\n{expect}Content-Length: {length}\r\n\r\n"
            assert running.raw(head.encode()) == [HTTPStatus.REQUEST_ENTITY_TOO_LARGE]
    counts = running.tally.counts()
    assert counts.refused == {"too large": 4}
    assert counts.received == 5


def test_a_chunked_body_has_the_same_limit(run: Callable[..., Running]) -> None:
    """It tells no length before, so it is cut off where it exceeds."""
    running = run()
    body = event()
    headers = {"Transfer-Encoding": "chunked"}
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)) as connection:
        connection.request(
            "POST", "/", iter([body[:7], body[7:]]), signed(body) | headers, encode_chunked=True
        )
        assert connection.getresponse().status == HTTPStatus.OK
    assert running.known() == ["rec_1"]
    with running.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 100 * 1024 * 1024:
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
        except ConnectionError:
            pass
        assert sent < 32 * 1024 * 1024
    assert running.tally.counts().refused == {"too large": 1}


def test_what_is_not_http_is_refused(run: Callable[..., Running]) -> None:
    """Without a word about why, and without a line of it in the log."""
    running = run()
    assert running.raw(b"NONSENSE\r\n\r\n") == [HTTPStatus.BAD_REQUEST]
    assert running.raw(b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n") == [HTTPStatus.BAD_REQUEST]
    # No longer than what is read of it: the rest would reset the connection.
    huge = b"POST / HTTP/1.1\r\nX: "
    assert running.raw(huge.ljust(16 * 1024, b"x")) == [HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE]
    smuggled = b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\nabc"
    assert running.raw(smuggled) == [HTTPStatus.NOT_IMPLEMENTED]
    assert running.tally.counts().refused == {"not HTTP": 3, "headers too large": 1}


def test_a_connection_carries_many_deliveries_also_ahead_of_their_answers(
    run: Callable[..., Running],
) -> None:
    """Kept alive, and pipelined: each gets its answer, in order."""
    running = run()
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)) as connection:
        for number in range(3):
            connection.request("POST", "/", event(number), signed(event(number)))
            answer = connection.getresponse()
            assert (answer.status, answer.read(), answer.will_close) == (HTTPStatus.OK, b"", False)
    text = b""
    for number in range(3, 8):
        body = event(number)
        headers = signed(body) if number != 5 else {}
        headers |= {"Host": "x", "Content-Length": str(len(body))}
        headers |= {"Connection": "close"} if number == 7 else {}
        text += "".join(
            ["POST / HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items()), "\r\n"]
        ).encode()
        text += body
    assert running.raw(text) == [200, 200, 401, 200, 200]
    assert running.known() == [f"rec_{number}" for number in (0, 1, 2, 3, 4, 6, 7)]


def test_a_slow_sender_is_cut_off_and_holds_nobody_up(run: Callable[..., Running]) -> None:
    """Silent ones after the idle time, those that trickle after the time of a whole request."""
    running = run(Limits(idle=1, request=1.5))
    started = time.monotonic()
    with running.connect() as silent, running.connect() as trickling, running.connect() as halfway:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        trickling.sendall(head)
        halfway.sendall(head + b"\r\n{")

        def cut_off() -> bool:
            try:
                trickling.sendall(b"X-A: b\r\n")
            except ConnectionError:
                return True
            return False

        assert wait_until(cut_off, 9)
        assert running.post(event()) == HTTPStatus.OK
        assert statuses(silent) == statuses(halfway) == []
    assert time.monotonic() - started < 9
    assert running.known() == ["rec_1"]


def test_connections_beyond_the_limit_wait_their_turn(run: Callable[..., Running]) -> None:
    """Nobody is refused: what is too much stays in the kernel's queue until idle ones are gone."""
    running = run(Limits(idle=1, connections=4))
    idle = [running.connect() for _ in range(12)]
    assert running.post(event()) == HTTPStatus.OK
    for each in idle:
        each.close()


def test_sixteen_at_one_time_are_all_answered(run: Callable[..., Running]) -> None:
    """Each event is stored once, however many deliver it at the same moment."""
    running = run()
    barrier = threading.Barrier(16)

    def deliver(_worker: int) -> list[int]:
        barrier.wait(10)
        with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)) as connection:
            found = []
            for number in range(10):
                connection.request("POST", "/", event(number), signed(event(number)))
                answer = connection.getresponse()
                answer.read()
                found.append(answer.status)
            return found

    with ThreadPoolExecutor(16) as pool:
        answers = Counter(status for found in pool.map(deliver, range(16)) for status in found)
    assert answers == {HTTPStatus.OK: 160}
    counts = running.tally.counts()
    assert (counts.received, counts.stored, counts.duplicates) == (160, 10, 150)
    assert len(running.noted) == len(running.known()) == 10


def test_what_cannot_be_stored_is_503_and_welcome_again(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    """The sender tries again; nothing of the event has taken effect."""
    running = run()
    trigger = "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no room'); END"
    running.store.database.write(lambda connection: connection.execute(trigger))
    for _ in range(3):
        assert running.post(event()) == HTTPStatus.SERVICE_UNAVAILABLE
    assert running.known() == []
    counts = running.tally.counts()
    assert (counts.received, counts.stored, counts.failed) == (3, 0, 3)
    assert "no room" in counts.last_error
    assert len([each for each in caplog.records if "no room" in each.getMessage()]) == 1
    running.store.database.write(lambda connection: connection.execute("DROP TRIGGER full"))
    assert running.post(event()) == HTTPStatus.OK
    assert running.known() == ["rec_1"]


def test_a_secret_is_changed_without_a_restart(run: Callable[..., Running]) -> None:
    """Two are good while it changes; a file that cannot be trusted lets nobody in, and loses nothing."""
    running = run()

    def answers() -> list[int]:
        bodies = [event(number) for number in range(2)]
        return [
            running.post(body, signed(body, secret))
            for body, secret in zip(bodies, (SECRET, "whsec_new"), strict=True)
        ]

    assert answers() == [200, 401]
    running.secret_file.write_text(f"whsec_new\n{SECRET}\n")
    assert answers() == [200, 200]
    running.secret_file.write_text("whsec_new\n")
    assert answers() == [401, 200]
    running.secret_file.chmod(0o644)
    assert answers() == [503, 503]
    running.secret_file.chmod(0o600)
    assert answers() == [401, 200]
    running.secret_file.unlink()
    assert answers() == [503, 503]


def test_an_unexpected_failure_is_500_and_says_nothing(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log names the kind of failure and its place, and nothing that was received."""
    running = run()

    def fail(*_: object) -> None:
        raise ValueError("canary-of-the-body")

    monkeypatch.setattr(EventReader, "read", fail)
    assert running.post(event()) == HTTPStatus.INTERNAL_SERVER_ERROR
    assert running.tally.counts().failed == 1
    assert "unexpected ValueError in fail:" in caplog.text
    assert "canary" not in caplog.text


def test_nothing_that_is_received_is_logged(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither body nor header nor secret nor path; an event's id, escaped, and no more."""
    caplog.set_level(logging.DEBUG)
    running = run()
    canary = "+49301234567"
    body = event(kind="session.ended", id="sess_1", phone_number=canary, note="canary-body")
    headers = signed(body)
    running.ask("POST", body, headers | {"X-Note": "canary-header"}, "/canary-path")
    running.ask("POST", body, {"Kallglot-Signature": "t=1,v1=canary-header"}, "/canary-path")
    running.post(b'{"canary-body": ')
    running.raw(b"CANARY canary-header\r\n\r\n")
    log = caplog.text
    assert "event 'evt_1': stored" in log
    for secret in (canary, "canary", "CANARY", SECRET, headers["Kallglot-Signature"][-20:]):
        assert secret not in log
    assert running.tally.counts().received == 4


def test_refusals_do_not_fill_the_log(run: Callable[..., Running], caplog: pytest.LogCaptureFixture) -> None:
    """Anybody may send them: one line per kind, then one in a thousand."""
    running = run()
    for _ in range(20):
        assert running.post(b"x", {}) == HTTPStatus.UNAUTHORIZED
    assert [each.getMessage() for each in caplog.records] == [
        "webhooks: a delivery is refused: signature missing (1 so far)"
    ]


def test_stopping_frees_the_address_at_once(run: Callable[..., Running]) -> None:
    """With connections open; the next mount listens on the same port without a pause."""
    running = run()
    body = event()
    with running.connect() as open_one:
        assert running.post(body) == HTTPStatus.OK
        started = time.monotonic()
        running.stop()
        assert time.monotonic() - started < 3
        assert open_one.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        running.connect()
    again = run(address=Address("127.0.0.1", running.port))
    assert again.post(body) == HTTPStatus.OK
    assert again.tally.counts().duplicates == 1


def test_what_is_being_stored_when_the_mount_ends_is_finished(run: Callable[..., Running]) -> None:
    """Its sender gets its answer: nothing is stored that was not answered, where that can be helped."""
    running = run()
    (path,) = (running.secret_file.parent / "state").glob("*.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor(2) as pool:
        other.execute("BEGIN IMMEDIATE")
        answer = pool.submit(running.post, event())
        assert wait_until(lambda: any(_is_writing(thread) for thread in threading.enumerate()))
        stopped = pool.submit(running.stop)
        assert wait_until(lambda: not stopped.done() and _refuses(running))
        other.execute("COMMIT")
        assert answer.result(10) == HTTPStatus.OK
        stopped.result(10)
    assert running.known() == ["rec_1"]


def _is_writing(thread: threading.Thread) -> bool:
    """Tell whether a thread is in a transaction of the catalog, or waits for its turn."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_name == "_transact":
            return True
        frame = frame.f_back
    return False


def _refuses(running: Running) -> bool:
    try:
        running.connect().close()
    except ConnectionError:
        return True
    return False


def test_an_address_that_others_can_reach_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, at the start; TLS is the proxy's. What was received is said at the end."""
    caplog.set_level(logging.INFO)
    clock = Clock()
    warned = []
    with closing(CatalogStore(tmp_path / "state" / "x.sqlite", clock)) as store:
        for host in ("0.0.0.0", "127.0.0.1"):
            caplog.clear()
            endpoint = Endpoint(
                Address(host, 0),
                lambda: (Secret(SECRET),),
                store.database,
                lambda _: None,
                is_recording_id,
                is_session_id,
                clock,
            )
            endpoint.start()
            endpoint.stop()
            assert endpoint.counts().received == 0
            assert caplog.messages[-2:] == [
                f"receiving webhooks on {host}:0",
                "webhooks: 0 received: 0 stored, 0 known already, 0 refused, 0 failed",
            ]
            warned.append([text for text in caplog.messages if "without TLS" in text])
    assert [len(texts) for texts in warned] == [1, 0]


def test_an_address_that_is_taken_or_wrong_is_one_clear_line(tmp_path: Path) -> None:
    """Before anything is mounted."""
    taken = Listening(LOCAL)
    try:
        with pytest.raises(MountError) as caught:
            Listening(Address("127.0.0.1", taken.port))
        assert str(caught.value) == (
            f"webhook_listen: cannot listen on 127.0.0.1:{taken.port}: Address already in use"
        )
    finally:
        taken.close()
    for address in (Address("203.0.113.1", 8787), Address("no-such-host.invalid", 8787)):
        with pytest.raises(MountError, match=f"^webhook_listen: cannot listen on {address}: "):
            Listening(address)
    with pytest.raises(MountError, match="No such file or directory"):
        Listening(Address(path=str(tmp_path / "none" / "socket")))


def test_ipv6_and_names_are_listened_on() -> None:
    """An address is local when only this machine can reach it."""
    for address, local in (
        (Address("::1", 0), True),
        (Address("localhost", 0), True),
        (Address("0.0.0.0", 0), False),
        (Address("::", 0), False),
    ):
        with closing(Listening(address)) as listening:
            assert listening.is_local is local
            assert listening.port > 0


def test_a_unix_socket_is_private_and_removed(run: Callable[..., Running], tmp_path: Path) -> None:
    """One that a killed mount left behind is replaced; one that somebody answers on, or a file, is not."""
    path = tmp_path / "hooks.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    running = run(address=Address(path=str(path)))
    assert path.stat().st_mode & 0o777 == 0o660
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        body = event()
        head = f"POST / HTTP/1.0\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())
        connection.sendall(f"{head}\r\n".encode() + body)
        assert statuses(connection) == [HTTPStatus.OK]
    with pytest.raises(MountError, match="Address already in use"):
        Listening(Address(path=str(path)))
    running.stop()
    assert not path.exists()
    path.write_text("a file of somebody's")
    with pytest.raises(MountError, match="Address already in use"):
        Listening(Address(path=str(path)))
    assert path.read_text() == "a file of somebody's"


def test_the_end_may_come_before_it_was_rung_for(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread's ring brings it; the pipe must still be there for our own."""
    ring = trigger._physical_pull

    def late(it: trigger) -> None:
        ring(it)
        time.sleep(0.2)
        ring(it)

    running = run()
    monkeypatch.setattr(trigger, "_physical_pull", late)
    running.stop()
    assert _refuses(running)
