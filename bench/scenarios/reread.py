"""The same file a second time: the kernel's page cache answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.corpus import MB
from bench.figures import Result, Series, Verdict
from bench.peers import RCLONE_OFF, Fsspec
from bench.reading import timed, verify

if TYPE_CHECKING:
    from bench.stage import Stage

#: Most bytes that making sure of the version may cost an opening.
HEAD = 1 << 20


def run(stage: Stage) -> Result:
    """Read again on the same mount, opening anew."""
    result = Result(
        "reread",
        "Re-read, kernel page cache",
        "The file that was just read, opened and read again. The local file is the one that nginx serves. "
        "Five reads a round, each counted.",
        checked=["every byte", "no API request", "no more of the storage than a look at the head an opening"],
    )
    [item] = stage.files("large", 1, stage.options.size(400 * MB, 8 * MB))
    variant = stage.storage.variant(shaped=False)
    ours = Series("kallglotfs", "MB/s")
    local = Series("local file in the page cache", "MB/s")
    rclone = Series(RCLONE_OFF[0].label, "MB/s")
    fsspec = Series("fsspec", "MB/s")
    for _ in range(stage.options.rounds):
        with stage.mount(variant) as mounted:
            verify(mounted.file(item), item)
            with stage.traffic() as traffic:
                for _ in range(5):
                    # Turn and turn about: the machine's mood hits both alike.
                    ours.values.append(item.size / timed(mounted.file(item), item.size) / MB)
                    local.values.append(item.size / timed(item.source, item.size) / MB)
            verify(mounted.file(item), item)
        stage.expect(traffic.api_total == 0, f"re-reading cost {traffic}")
        stage.expect(traffic.storage.sent <= HEAD * 5, f"re-reading cost {traffic}")
        ours.note = f"{traffic.storage.requests} storage requests for 5 openings"
        if stage.options.peers != "none":
            with RCLONE_OFF[0].mount(stage.directory("rclone"), variant, item.group) as other:
                verify(other.file(item), item)
                rclone.values.append(item.size / timed(other.file(item), item.size) / MB)
        if stage.options.peers == "all":
            with Fsspec().mount(stage.directory("fsspec"), variant, item.group) as other:
                verify(other.file(item), item)
                fsspec.values.append(item.size / timed(other.file(item), item.size) / MB)
    result.series = [one for one in (ours, local, rclone, fsspec) if one.values]
    result.verdicts = [Verdict("of the local file's speed", ours.median / local.median, 0.9)]
    return result
