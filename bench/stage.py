"""What every scenario plays on: workspace, storage, API, files; set up once, taken down in any case."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import certificates
from bench.access_log import Tally, tally
from bench.api import DELAY, Api
from bench.corpus import Corpus, Item
from bench.kallglotfs_mount import KallglotMount
from bench.reading import warm
from bench.storage import Storage, Variant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from bench.access_log import StorageRequest
    from bench.options import Options

#: Root of the checkout.
ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Traffic:
    """What went over the wire during a block; filled in when the block ends."""

    api: dict[str, int]
    requests: list[StorageRequest]

    @property
    def api_total(self) -> int:
        """Return the number of API requests."""
        return sum(self.api.values())

    @property
    def storage(self) -> Tally:
        """Return what the storage's requests add up to."""
        return tally(self.requests)

    def __str__(self) -> str:
        return f"{self.api_total} API requests, {self.storage}"


class Stage:
    """A context manager around everything a run needs.

    Args:
        options: of the run.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count(1)
        self._failures: list[str] = []

    def __enter__(self) -> Self:
        self.home = Path(tempfile.mkdtemp(prefix="kallglotfs-bench-"))
        self._stack.callback(shutil.rmtree, self.home, ignore_errors=True)
        try:
            secret = secrets.token_hex(16)
            files = self.home / "files"
            files.mkdir()
            self.corpus = Corpus(files)
            self.storage = Storage(self.home / "nginx", files, certificates.make(self.home), secret)
            self._stack.callback(self.storage.stop)
            self.storage.start()
            self.api = Api(self.home / "api", f"sk_test_{secrets.token_hex(12)}", secret)
            self._stack.callback(self.api.stop)
            self.api.start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def expect(self, holds: bool, message: str) -> None:  # noqa: FBT001 - reads like assert
        """Note a failed check; the scenario goes on, so that its numbers can be seen all the same."""
        if not holds:
            self._failures.append(message)

    def failures(self) -> list[str]:
        """Return what was noted, and forget it."""
        noted, self._failures = self._failures, []
        return noted

    def directory(self, name: str) -> Path:
        """Return a new empty directory."""
        path = self.home / f"{next(self._numbers):03}-{name}"
        path.mkdir()
        return path

    def files(self, group: str, count: int, size: int) -> list[Item]:
        """Return recordings of random bytes that API and storage know, warm in the storage's page cache."""
        items = self.corpus.group(group, count, size)
        self.publish(items)
        return items

    def publish(self, items: list[Item]) -> None:
        """Make the API know recordings, and their files warm."""
        self.api.publish(items)
        warm(item.source for item in items)

    def variants(self, *, shaped: bool) -> list[Variant]:
        """Return the ways to reach the storage that this run covers."""
        return [self.storage.variant(shaped=shaped, scheme=scheme) for scheme in self.options.schemes]

    @contextmanager
    def mount(
        self,
        variant: Variant,
        *,
        streams: int = 16,
        delay: float = DELAY,
        state: Path | None = None,
        add: list[str] | None = None,
        **options: object,
    ) -> Iterator[KallglotMount]:
        """Mount kallglotfs as users do, with a new state unless one is given.

        Args:
            variant: the storage that the API's URLs point at.
            streams: setting of that name.
            delay: seconds to each answer of the API.
            state: state directory of an earlier mount.
            add: ids made known with `kallglotfs add` before mounting.
            **options: further settings.
        """
        self.api.point_at(variant, delay)
        given: dict[str, object] = {
            "api_url": self.api.url,
            "state_dir": state or self.directory("state"),
            "streams": streams,
        }
        extra = dict(one.partition("=")[::2] for one in self.options.mount_options)
        mounted = KallglotMount(
            self.directory("mnt"), self.api.key, given | options | extra, variant.authority
        )
        if add:
            mounted.add(add)
        try:
            mounted.start()
            yield mounted
        finally:
            mounted.stop()

    @contextmanager
    def traffic(self) -> Iterator[Traffic]:
        """Count what goes over the wire while the block runs."""
        self.api.reset()
        mark = self.storage.mark()
        seen = Traffic({}, [])
        yield seen
        seen.requests = self.storage.since(mark)
        seen.api = self.api.counts()
