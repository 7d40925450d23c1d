"""Read once, unmount, forget every page, mount again, read again: the disk tier answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.corpus import MB
from bench.figures import Result, Series, Verdict
from bench.peers import RCLONE_FULL
from bench.reading import cool, timed, verify

if TYPE_CHECKING:
    from bench.stage import Stage


def run(stage: Stage) -> Result:
    """Compare the second read with rclone's from its disk cache."""
    result = Result(
        "disk-tier",
        "After a remount, from the disk tier",
        "Read once with `cache_dir`, unmount, drop the page cache of the cache's files (posix_fadvise), "
        "mount with the same state, read again. rclone does the same with `--vfs-cache-mode full`; its files "
        "lie open on the disk, ours are sealed with AES-256-GCM.",
        checked=["every byte", "no request at all after the remount"],
    )
    [item] = stage.files("large", 1, stage.options.size(400 * MB, 8 * MB))
    variant = stage.storage.variant(shaped=True)
    ours = Series("kallglotfs", "MB/s")
    rclone = Series(RCLONE_FULL[0].label, "MB/s", note=" ".join(RCLONE_FULL[0].options))
    for _ in range(stage.options.rounds):
        state, cache = stage.directory("state"), stage.directory("cache")
        cache.chmod(0o700)
        options: dict[str, Any] = {"cache_dir": cache, "disk_cache": "2G"}
        with stage.mount(variant, state=state, **options) as mounted:
            verify(mounted.file(item), item)
        stored = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
        cool(cache)
        with stage.mount(variant, state=state, **options) as mounted:
            with stage.traffic() as traffic:
                ours.values.append(item.size / timed(mounted.file(item), item.size) / MB)
            verify(mounted.file(item), item)
        stage.expect(
            traffic.api_total == 0 and traffic.storage.requests == 0,
            f"after the remount {traffic} ({stored} bytes in cache_dir)",
        )
        if stage.options.peers != "none":
            _rclone(stage, rclone)
    result.series = [one for one in (ours, rclone) if one.values]
    if rclone.values:
        ratio = ours.median / rclone.median
        result.verdicts.append(Verdict("times rclone --vfs-cache-mode full", ratio, 2))
    result.verdicts.append(
        Verdict(
            "requests after the remount",
            traffic.api_total + traffic.storage.requests,
            0,
            at_least=False,
            counts=True,
        )
    )
    return result


def _rclone(stage: Stage, series: Series) -> None:
    [item] = stage.files("large", 1, 0)
    variant = stage.storage.variant(shaped=True)
    cache = stage.directory("rclone-cache")
    peer = RCLONE_FULL[0]
    with peer.mount(stage.directory("rclone"), variant, item.group, cache) as mounted:
        verify(mounted.file(item), item)
    cool(cache)
    with peer.mount(stage.directory("rclone"), variant, item.group, cache) as mounted:
        mounted.file(item).stat()
        series.values.append(item.size / timed(mounted.file(item), item.size) / MB)
        verify(mounted.file(item), item)
