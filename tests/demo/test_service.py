"""The demo service keeps to the contract that the client is built on."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from kallglotfs.demo.server import DemoServer

SHIPPED = "rec_01HABC987654321"


def get(service: DemoServer, path: str, **kwargs: Any) -> requests.Response:
    """Ask the API with its key."""
    headers = {"Authorization": f"Bearer {service.api_key}"}
    response = requests.get(
        f"{service.api_url}{path}", headers=headers, allow_redirects=False, stream=True, timeout=20, **kwargs
    )
    response.close() if response.status_code == 302 else response.content
    return response


def test_metadata_has_every_field_and_a_url_that_works(service: DemoServer) -> None:
    """One call gives both the facts and the lease."""
    found = get(service, f"/recordings/{SHIPPED}").json()
    assert set(found) == {
        "id", "object", "session_id", "channel", "status", "duration", "format", "size", "sample_rate",
        "bit_depth", "download_url", "created_at", "expires_at",
    }  # fmt: skip
    answer = requests.get(found["download_url"], headers={"Range": "bytes=0-9"}, timeout=20)
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes 0-9/{found['size']}"
    assert answer.content == service.audio(SHIPPED)[:10]
    assert requests.head(found["download_url"], timeout=20).status_code == 403


def test_a_download_is_a_redirect_that_declares_the_files_length(service: DemoServer) -> None:
    """The trap of the contract: that length is not the 302's own."""
    service.knobs.trap_hold = 0.1
    answer = get(service, f"/recordings/{SHIPPED}/download", params={"format": "ogg"})
    assert answer.status_code == 302
    assert int(answer.headers["Content-Length"]) == len(service.audio(SHIPPED, "ogg"))
    assert requests.get(answer.headers["Location"], timeout=20).content == service.audio(SHIPPED, "ogg")


@pytest.mark.parametrize("form", ["flac", "MP3", ""])
def test_a_format_there_is_none_of_is_422(form: str, service: DemoServer) -> None:
    """In the error envelope, with a request id."""
    answer = get(service, f"/recordings/{SHIPPED}/download", params={"format": form})
    assert answer.status_code == 422
    assert answer.json()["error"]["request_id"] == answer.headers["X-Request-ID"]


def test_a_wrong_key_is_401_and_the_alternative_header_works(service: DemoServer) -> None:
    """Bearer or X-API-Key."""
    url = f"{service.api_url}/recordings/{SHIPPED}"
    wrong = requests.get(url, headers={"Authorization": "Bearer sk_test_no"}, timeout=20)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_api_key")
    assert requests.get(url, headers={"X-API-Key": service.api_key}, timeout=20).status_code == 200


def test_the_rate_limit_counts_down_and_then_says_429(service: DemoServer) -> None:
    """With the headers that are authoritative."""
    service.knobs.rate_limit = 2
    answers = [get(service, f"/recordings/{SHIPPED}") for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert [each.headers["X-RateLimit-Remaining"] for each in answers] == ["1", "0", "0"]
    assert int(answers[2].headers["Retry-After"]) > 0


def test_lists_are_paged_by_cursor(service: DemoServer) -> None:
    """Sessions and a session's recordings."""
    for index in range(5):
        service.add_recording(f"rec_p{index}", size=10, session_id="sess_paged")
    ids: list[str] = []
    after = ""
    while True:
        query = {"limit": 2} | ({"starting_after": after} if after else {})
        page = get(service, "/sessions/sess_paged/recordings", params=query).json()
        ids += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            break
        after = ids[-1]
    assert sorted(ids) == [f"rec_p{index}" for index in range(5)]
    assert get(service, "/sessions", params={"limit": 1}).json()["has_more"] is True


def test_transcripts_match_their_calls(service: DemoServer) -> None:
    """Turns in order, two calls in two languages."""
    languages = []
    for row in service.calls:
        found = get(service, f"/sessions/{row.session_id}/transcript").json()
        assert found["status"] == "completed"
        assert [turn["sequence"] for turn in found["turns"]] == list(range(1, len(found["turns"]) + 1))
        languages.append(len(found["metadata"]["languages_detected"]))
    assert len(service.calls) >= 6
    assert languages.count(2) >= 2


def test_generation_2_streams_with_the_key_and_has_no_downloads(service: DemoServer) -> None:
    """MP3 alone, 8 kHz mono."""
    service.knobs.generation = 2
    found = get(service, f"/recordings/{SHIPPED}").json()
    assert found["download_url"] == f"/v1/recordings/{SHIPPED}/audio"
    answer = get(service, f"/recordings/{SHIPPED}/audio", params={})
    assert answer.content == service.audio(SHIPPED, "mp3")
    assert len(answer.content) == found["size"]
    assert get(service, f"/recordings/{SHIPPED}/download").status_code == 404
    assert get(service, "/sessions").status_code == 404


def test_a_webhook_is_signed_over_the_raw_body(service: DemoServer) -> None:
    """As the contract has it."""
    seen: list[tuple[str, bytes]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.headers["Kallglot-Signature"], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        assert service.send_webhook(url, "recording.ready", {"id": SHIPPED}, "whsec_1") == 204
        server.shutdown()
    header, body = seen[0]
    stamp, signature = (part.partition("=")[2] for part in header.split(","))
    wanted = hmac.new(b"whsec_1", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert signature == wanted
    assert json.loads(body)["data"] == {"id": SHIPPED}
