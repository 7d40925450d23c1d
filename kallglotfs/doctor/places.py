"""The directories of a mount: where state and sealed audio are kept. Nothing is made or changed."""

from __future__ import annotations

import os
from pathlib import Path

from kallglotfs.catalog.private_file import check_folder
from kallglotfs.config.units import format_size
from kallglotfs.content.cache_directory import FLOOR_BYTES, FLOOR_PART, CacheDirectory
from kallglotfs.doctor.finding import Finding, Level, failed, failure, ok, quoted, warning
from kallglotfs.errors import ConfigError
from kallglotfs.mountpoint import all_mounts

#: Filesystems over a network: locks and SQLite's shared memory do not work on all of them.
NETWORK = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs")
#: Free bytes below which the list of recordings cannot grow.
ROOM = 16 * 1024 * 1024


def state(folder: Path) -> Finding:  # noqa: PLR0911 - one return per cause
    """Check `state_dir`."""
    name = "state_dir"
    if not os.path.lexists(folder):
        return _creatable(name, folder)
    try:
        check_folder(folder)
    except ConfigError as error:
        text = ConfigError(str(error).removeprefix("state_dir: "))
        return failed(name, text, f"name another state_dir, or: {_own(folder)}")
    except OSError as error:
        return failure(
            name, f"{folder}: {error.strerror}", f"ls -ld {quoted(folder)}; name another state_dir"
        )
    if problem := _not_writable(name, folder):
        return problem
    free = _free(folder)
    if free is not None and free < ROOM:
        found = f"{folder}: {format_size(free)} free, so that what is new cannot be noted"
        return warning(name, found, f"make room: df -h {quoted(folder)}")
    kind = filesystem_of(folder)
    if kind in NETWORK:
        found = f"{folder} lies on {kind}: the list of recordings may lock up or be damaged"
        return warning(name, found, "name a local directory: state_dir=/var/lib/kallglotfs")
    if kind == "tmpfs":
        found = f"{folder} lies in memory ({kind}): what is known is gone after a restart"
        return warning(name, found, "name a directory on a disk: state_dir=/var/lib/kallglotfs")
    return ok(name, str(folder))


def cache(folder: Path, most: int) -> Finding:
    """Check `cache_dir`, if anything is to be kept in it.

    Args:
        folder: the setting.
        most: bytes, the setting `disk_cache`.
    """
    name = "cache_dir"
    if not most:
        return ok(name, "not used: disk_cache is 0")
    if not os.path.lexists(folder):
        made = _creatable(name, folder)
        return _room(name, folder, most) if made.level is Level.OK else made
    try:
        # It is there, so that nothing is made; it is opened as the mount does it.
        CacheDirectory(folder)
    except ConfigError as error:
        text = ConfigError(str(error).removeprefix("cache_dir: "))
        return failed(name, text, f"name another cache_dir, or: {_own(folder)}")
    return _not_writable(name, folder) or _room(name, folder, most)


def log(file: Path | None) -> Finding:
    """Check `log_file`: a mount that cannot write its log does not start."""
    name = "log_file"
    if file is None:
        return ok(name, "none: syslog, or standard error in the foreground")
    there = file if os.path.lexists(file) else file.parent
    if not os.path.lexists(there):
        return failure(name, f"{file}: its directory is not there", f"mkdir -p {quoted(there)}")
    if not os.access(there, os.W_OK, effective_ids=True) or _is_read_only(there):
        return failure(name, f"{file} cannot be written", f"sudo chown $(id -un) {quoted(there)}")
    return ok(name, str(file))


def filesystem_of(path: Path) -> str:
    """Return the type of the filesystem a path lies on, from mountinfo; nothing is touched."""
    place = str(path)
    inside = [m for m in all_mounts() if m.path == "/" or f"{place}/".startswith(f"{m.path}/")]
    # The longest covers the others, and of two at one place the later one.
    return max(enumerate(inside), key=lambda each: (len(each[1].path), each[0]))[1].kind if inside else "?"


def _room(name: str, folder: Path, most: int) -> Finding:
    there = _nearest(folder)
    found = os.statvfs(there)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    kind = filesystem_of(there)
    if total and free < max(FLOOR_BYTES, total // FLOOR_PART):
        text = f"{folder}: {format_size(_rounded(free))} free, too little to keep anything more"
        return warning(name, text, f"make room (df -h {quoted(folder)}), or name another cache_dir")
    if total and most > total:
        whole = format_size(_rounded(total))
        text = f"{folder}: disk_cache is {format_size(most)}, the whole filesystem {whole}"
        return warning(name, text, f"set disk_cache={format_size(_rounded(total // 2))}")
    if kind == "tmpfs":
        text = f"{folder} lies in memory ({kind}): it takes memory, and is gone after a restart"
        return warning(name, text, "name a directory on a disk: cache_dir=/var/cache/kallglotfs")
    if kind in NETWORK:
        text = f"{folder} lies on {kind}: a cache over the network saves little"
        return warning(name, text, "name a local directory: cache_dir=/var/cache/kallglotfs")
    return ok(name, f"{folder}, {format_size(_rounded(free))} free for {format_size(most)}")


def _creatable(name: str, folder: Path) -> Finding:
    there = _nearest(folder)
    if not there.is_dir():
        return failure(name, f"{folder}: {there} is no directory", f"name another {name}")
    if os.access(there, os.W_OK | os.X_OK, effective_ids=True) and not _is_read_only(there):
        return ok(name, f"{folder}, made by the first mount")
    found = f"{folder} is not there and cannot be made: {there} is not yours to write"
    return failure(name, found, f"sudo install -d -m 700 -o $(id -un) {quoted(folder)}")


def _not_writable(name: str, folder: Path) -> Finding | None:
    try:
        read_only = _is_read_only(folder)
    except OSError as error:
        return failure(name, f"{folder}: {error.strerror}", f"name another {name}")
    if read_only:
        found = f"{folder} lies on a filesystem that is read-only"
        return failure(name, found, f"mount -o remount,rw … it, or name another {name}")
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return failure(name, f"{folder} cannot be written", f"chmod 700 {quoted(folder)}")
    return None


def _is_read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _nearest(path: Path) -> Path:
    """Return the path itself, or the nearest above it that is there."""
    return next((each for each in (path, *path.parents) if os.path.lexists(each)), Path("/"))


def _free(folder: Path) -> int | None:
    """Return the bytes free; None where nothing is counted or the directory is not there."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize if found.f_blocks else None


def _own(folder: Path) -> str:
    return f"sudo chown -R $(id -un) {quoted(folder)}"


def _rounded(count: int) -> int:
    """Return a number of bytes that reads well."""
    unit = 1024
    while count >= unit * 1024:
        unit *= 1024
    return count // unit * unit
