"""Signed URLs that run out under a real mount, and both generations of the service."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer


def test_a_slow_reader_crosses_many_expiries(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """URLs live two seconds; each renewal is one API request, no byte is wrong."""
    service.knobs.url_lifetime = 2
    service.add_recording("rec_slow", size=24_000_000)
    folder = mount(memory_cache="8M")
    expected = service.audio("rec_slow", "mp3")
    began = time.monotonic()
    with (folder.recordings / "rec_slow.mp3").open("rb", buffering=0) as file:
        for at in range(0, len(expected), 1_000_000):
            part = b""
            while len(part) < 1_000_000 and (piece := file.read(1_000_000 - len(part))):
                part += piece
            assert part == expected[at : at + 1_000_000]
            time.sleep(0.5)
    lives = (time.monotonic() - began) / 2
    spent = service.requests.count("api")
    assert 3 <= spent <= lives + 3
    issued = {each.path for each in service.requests.records("api")}
    assert issued <= {"/v1/recordings/rec_slow", "/v1/recordings/rec_slow/download"}


def test_two_hundred_readers_of_one_expired_lease_cost_one_renewal(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """All of them succeed."""
    service.add_recording("rec_many", size=40_000_000)
    folder = mount()
    expected = service.audio("rec_many", "mp3")
    descriptor = os.open(folder.recordings / "rec_many.mp3", os.O_RDONLY)
    try:
        assert os.pread(descriptor, 10, 0) == expected[:10]
        service.requests.clear()
        service.revoke_urls()
        barrier = threading.Barrier(200)

        def read(index: int) -> bool:
            barrier.wait(30)
            offset = 2_000_000 + index * 190_000
            return os.pread(descriptor, 1000, offset) == expected[offset : offset + 1000]

        with ThreadPoolExecutor(200) as pool:
            assert all(pool.map(read, range(200)))
    finally:
        os.close(descriptor)
    assert service.requests.count("api") == 1


@pytest.mark.parametrize("skew", [-86400, -3600, 3600, 86400])
def test_a_service_with_a_wrong_clock(
    skew: float, service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """An hour or a day off costs no request more."""
    service.knobs.clock_skew = skew
    service.add_recording("rec_skew", size=3_000_000)
    folder = mount()
    assert (folder.recordings / "rec_skew.mp3").read_bytes() == service.audio("rec_skew", "mp3")
    assert service.requests.count("api") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"send_expires": False},
        {"send_date": False},
        {"etag": "none"},
        {"etag": "weak"},
        {"last_modified": False},
    ],
)
def test_headers_that_a_service_may_leave_out(
    changes: dict[str, object], service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """None of them is needed."""
    service.knobs.change(changes)
    service.add_recording("rec_less", size=3_000_000)
    folder = mount()
    assert (folder.recordings / "rec_less.mp3").read_bytes() == service.audio("rec_less", "mp3")
    assert service.requests.count("api") == 1


@pytest.mark.parametrize("status", [403, 404, 405])
def test_an_installation_with_download_only(
    status: int, service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """The missing route is paid for once, then every file costs one request."""
    service.knobs.change({"download_only": True, "missing_route_status": status})
    for name in "abc":
        service.add_recording(f"rec_{name}", size=700_000)
    folder = mount()
    for name in "abc":
        assert (folder.recordings / f"rec_{name}.mp3").read_bytes() == service.audio(f"rec_{name}", "mp3")
    assert service.requests.count("api") == 4
    assert not (folder.recordings / "rec_none.mp3").exists()
    assert service.requests.count("api") == 5
    assert (folder.recordings / "rec_a.wav").read_bytes() == service.audio("rec_a", "wav")
    assert service.requests.count("api") == 6


@pytest.mark.parametrize("ranges", [False, True])
def test_generation_2(ranges: bool, service: DemoServer, mount: Callable[..., MountedFolder]) -> None:  # noqa: FBT001
    """One request for the metadata and one for the audio, shared by sixteen readers."""
    service.knobs.change({"generation": 2, "audio_ranges": ranges})
    folder = mount()
    row = service.calls[0]
    path = folder.recordings / f"{row.id}.mp3"
    expected = service.audio(row.id, "mp3")
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: path.read_bytes(), range(16)))
    assert found == {expected}
    assert service.requests.count("api") == 2
    assert service.requests.count("storage") == 0
    assert not path.with_suffix(".wav").exists()
    assert os.listdir(folder.recordings) == [f"{row.id}.mp3"]
    assert service.requests.count("api") == 2


def test_generation_2_after_a_remount_needs_only_the_audio(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """How a recording is delivered is remembered."""
    service.knobs.change({"generation": 2})
    row = service.calls[0]
    first = mount()
    size = (first.recordings / f"{row.id}.mp3").stat().st_size
    assert size == len(service.audio(row.id, "mp3"))
    first.unmount()
    second = mount()
    assert (second.recordings / f"{row.id}.mp3").read_bytes() == service.audio(row.id, "mp3")
    assert service.requests.count("api") == 1


def test_a_rate_limit_is_waited_for_and_never_seen(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Twelve files at six requests a window: no 429 reaches anybody."""
    service.knobs.change({"rate_limit": 6, "rate_window": 2.0})
    for index in range(12):
        service.add_recording(f"rec_l{index}", size=1000)
    folder = mount()
    for index in range(12):
        assert (folder.recordings / f"rec_l{index}.mp3").read_bytes() == service.audio(f"rec_l{index}", "mp3")
    assert [each.status for each in service.requests.records("api")].count(429) <= 1


def test_storage_never_sees_a_credential_and_nobody_sends_head(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """In either generation."""
    for row in service.calls[:3]:
        # Encoding an hour takes the service longer than a read may take.
        service.audio(row.id, "ogg")
    folder = mount()
    for row in service.calls[:3]:
        (folder.recordings / f"{row.id}.ogg").read_bytes()
    records = service.requests.records()
    assert not any(each.leaked_credentials for each in records)
    assert {each.method for each in records} == {"GET"}
