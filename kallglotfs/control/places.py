"""Where control sockets live, how they are named, and which of them are left over.

One socket for each mount, in a directory of the user's own:

    root        /run/kallglotfs/
    a user      $XDG_RUNTIME_DIR/kallglotfs/, else /run/user/<uid>/kallglotfs/, else /tmp/kallglotfs-<uid>/

`$RUNTIME_DIRECTORY` of systemd is honoured where it is one of these or right below one, since whoever looks
for sockets knows nothing of a unit's environment: `RuntimeDirectory=kallglotfs/%i` gives each instance a
directory that goes with it, where one shared directory would be removed with the first instance that stops.

Threading: stateless.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OURS = "kallglotfs"
SYSTEM = Path("/run") / OURS
#: Of all users: pam_systemd(8) makes a directory for each.
USERS = Path("/run/user")
#: For who has neither; the directory made there is checked to be its user's own.
FALLBACK = Path("/tmp")  # noqa: S108
SUFFIX = ".sock"
#: Characters of the mount point's last part in a name, for people who look, and of the digest, which decides.
READABLE, DIGEST = 24, 16
PRIVATE = 0o700
#: Entries of a user's directory in which root looks for directories of instances.
FOLDERS = 256
#: Of root's: a unit with a user of its own passes through to the directory that systemd has made for it.
PASSABLE = 0o711


def home(environ: Mapping[str, str] = os.environ, uid: int | None = None, fallback: Path = FALLBACK) -> Path:
    """Return the directory in which a daemon of this user puts its socket.

    Args:
        environ: the environment.
        uid: the user; None for the process's own.
        fallback: where a directory of one's own is made for lack of another.
    """
    uid = os.geteuid() if uid is None else uid
    own = _own(environ, uid, fallback)
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given and not {Path(given), Path(given).parent}.isdisjoint((SYSTEM, *own)):
        return Path(given)
    return next((each for each in own if each == SYSTEM or _is_private(each.parent, uid)), own[-1])


def searched(
    environ: Mapping[str, str] = os.environ, uid: int | None = None, fallback: Path = FALLBACK
) -> list[Path]:
    """Return the directories that may hold sockets this user may use; root sees everybody's.

    Args:
        environ: the environment.
        uid: the user; None for the process's own.
        fallback: where directories are made for lack of others.
    """
    uid = os.geteuid() if uid is None else uid
    owned = [(each, uid) for each in _own(environ, uid, fallback) if each != SYSTEM]
    if uid == 0:
        owned += [(each / OURS, int(each.name)) for each in _below(USERS) if each.name.isdecimal()]
        beside = [(each, each.name.removeprefix(f"{OURS}-")) for each in _below(fallback)]
        owned += [(each, int(user)) for each, user in beside if user.isdecimal()]
    # Anybody may make directories in the fallback: what passes for somebody else's is not looked into.
    roots = [SYSTEM, *(each for each, user in owned if _is_private(each, user))]
    return [
        folder
        for root in dict.fromkeys(roots)
        for folder in (root, *_instances(root, None if root == SYSTEM or uid else FOLDERS))
    ]


def is_system(folder: Path) -> bool:
    """Tell whether a directory is root's, or one right below it."""
    return SYSTEM in (folder, folder.parent)


def name_of(mount_point: str) -> str:
    """Return the name of a mount's socket; two mount points never share one.

    A path of a Unix socket has at most 107 bytes (unix(7)), which a mount point may exceed by far.

    Args:
        mount_point: absolute, as the kernel names it.
    """
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", os.path.basename(mount_point))[:READABLE]  # noqa: PTH119
    digest = hashlib.sha256(os.fsencode(mount_point)).hexdigest()[:DIGEST]
    return f"{readable}-{digest}{SUFFIX}"


def sockets(folder: Path) -> list[Path]:
    """Return the sockets in a directory; none where it cannot be read."""
    return [each for each in _below(folder) if each.name.endswith(SUFFIX) and _is_socket(each)]


def prepare(folder: Path) -> None:
    """Make a directory for sockets, or make sure that one is fit for them.

    Raises:
        OSError: it cannot be made, or others may write there.
    """
    if folder.parent == SYSTEM:
        SYSTEM.mkdir(mode=PASSABLE, exist_ok=True)
    folder.mkdir(mode=PASSABLE if folder == SYSTEM else PRIVATE, parents=True, exist_ok=True)
    if not _is_private(folder, os.geteuid()):
        raise PermissionError(errno.EPERM, "others may write there", str(folder))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[int]:
    """Give a descriptor of a directory, by which sockets in it are named (`short`).

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def reached(path: Path) -> Iterator[tuple[str, int]]:
    """Give the address of a socket, and its user's number, as the directory's owner put it there.

    No link is followed from the directory on: its owner could lead root to a service of somebody else.

    Raises:
        OSError: it cannot be opened, is no socket, or is not the directory's owner's.
    """
    with opened(path.parent) as folder:
        owner = os.fstat(folder).st_uid
        descriptor = os.open(path.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        if owner != owner_of(path.parent, owner) or found.st_uid != owner or not stat.S_ISSOCK(found.st_mode):
            raise PermissionError(errno.EPERM, "not a socket of the directory's owner", str(path))
        yield f"/proc/self/fd/{descriptor}", owner
    finally:
        os.close(descriptor)


def owner_of(folder: Path, found: int) -> int:
    """Return whose a directory with sockets has to be, by its path.

    Args:
        folder: from `searched`.
        found: whose it is, which is right below root's directory.
    """
    if is_system(folder):
        return found if folder != SYSTEM else 0
    # The upper one first: the lower one is named by a user, who could choose another's number.
    for each in (folder.parent, folder):
        user = each.parent.name if each.parent.parent == USERS else each.name.removeprefix(f"{OURS}-")
        if user.isdecimal() and each.name.startswith(OURS):
            return int(user)
    return os.geteuid()


def short(folder: int, name: str) -> str:
    """Return a path of a socket that is short enough, wherever its directory is."""
    return f"/proc/self/fd/{folder}/{name}"


@contextlib.contextmanager
def changing(folder: int) -> Iterator[None]:
    """Keep others from placing or clearing sockets meanwhile; nobody holds this for longer than a moment.

    Raises:
        OSError: the lock cannot be had.
    """
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


def clear(folder: Path) -> None:
    """Remove what daemons left behind that were killed, from a directory of our own."""
    if not sockets(folder) or not _is_private(folder, os.geteuid()):
        return
    with contextlib.suppress(OSError), opened(folder) as descriptor, changing(descriptor):
        for each in sockets(folder):
            if is_abandoned(descriptor, each.name):
                with contextlib.suppress(OSError):
                    os.unlink(each.name, dir_fd=descriptor)


def is_abandoned(folder: int, name: str) -> bool:
    """Tell whether nobody listens at a socket; as they are put in place listening, nobody ever will."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003 - socket's own
        return probe.connect_ex(short(folder, name)) == errno.ECONNREFUSED


def _own(environ: Mapping[str, str], uid: int, fallback: Path) -> list[Path]:
    if uid == 0:
        return [SYSTEM]
    given = environ.get("XDG_RUNTIME_DIR", "")
    named = [Path(given) / OURS] if given.startswith("/") else []
    return [*named, USERS / str(uid) / OURS, fallback / f"{OURS}-{uid}"]


def _is_private(folder: Path, uid: int) -> bool:
    """Tell whether a directory is a user's own, and only that user may write there."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o022


def _instances(root: Path, most: int | None) -> list[Path]:
    return [each for each in _below(root)[:most] if each.is_dir() and not each.is_symlink()]


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def _below(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
