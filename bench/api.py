"""The harness's side of the API process: start it, tell it what there is, ask what it counted."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.processes import end

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.corpus import Item
    from bench.storage import Variant

#: Seconds to every answer of the API.
DELAY = 0.030
#: When all recordings were made, for a second rsync to agree.
CREATED = "2026-01-05T09:00:00Z"


@dataclass
class Api:
    """Runs the API until `stop`.

    Args:
        home: directory for its files.
        key: what clients must send.
        secret: what URLs are signed with.
    """

    home: Path
    key: str
    secret: str
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _known: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Start the process; returns when it answers."""
        self.home.mkdir(parents=True)
        config = self.home / "secrets.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"key": self.key, "secret": self.secret}))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.api_server", str(config)],
            stdout=subprocess.PIPE,
            stderr=(self.home / "stderr.log").open("wb"),
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline() or 0)

    def stop(self) -> None:
        """Stop the process."""
        if self._process is not None:
            end(self._process)

    @property
    def url(self) -> str:
        """Return what clients take for `api_url`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def point_at(self, variant: Variant, delay: float = DELAY) -> None:
        """Sign URLs for this storage from now on, and answer after `delay` seconds."""
        self._control("settings", {"base": variant.base, "delay": delay})

    def publish(self, items: Iterable[Item]) -> None:
        """Make recordings of files."""
        self.publish_numbers(
            {
                "id": item.id,
                "session_id": "sess_BENCH",
                "path": f"/signed/{item.group}/{item.name}",
                "size": item.size,
            }
            for item in items
        )

    def publish_numbers(self, recordings: Iterable[dict[str, Any]]) -> None:
        """Make recordings, with or without files behind them; those it knows already stay."""
        new = [
            recording | {"created_at": CREATED}
            for recording in recordings
            if recording["id"] not in self._known
        ]
        self._known.update(recording["id"] for recording in new)
        if new:
            self._control("library", new)

    def reset(self) -> None:
        """Forget the counts."""
        self._control("reset")

    def counts(self) -> dict[str, int]:
        """Return requests per recording (or session, or other path) since the last reset."""
        return self._control("counts")

    def total(self) -> int:
        """Return requests since the last reset."""
        return sum(self.counts().values())

    def _control(self, verb: str, body: Any = None) -> dict[str, int]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", f"/control/{verb}", json.dumps(body).encode())
            counts: dict[str, int] = json.loads(connection.getresponse().read())
            return counts
        finally:
            connection.close()
