"""FUSE on this machine: the device, libfuse, fusermount3, and what /etc/fuse.conf permits."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

from kallglotfs import libfuse
from kallglotfs.doctor.finding import Finding, failed, failure, ok, quoted, warning
from kallglotfs.errors import SystemFault

#: Left by container engines in the containers they make.
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"), Path("/run/systemd/container"))
CONTAINER_VARIABLES = ("container", "KUBERNETES_SERVICE_HOST")
#: How a container is given what a mount needs.
GIVE = "start the container with: --device /dev/fuse --cap-add SYS_ADMIN"
PROGRAM = "fusermount3"
#: capabilities(7).
_CAP_SYS_ADMIN = 21
#: Where distributions put it, and where libfuse looks by itself.
USUAL_PLACES = (Path("/usr/bin/fusermount3"), Path("/bin/fusermount3"))
CONFIG = Path("/etc/fuse.conf")


def in_container(marks: tuple[Path, ...] = CONTAINER_MARKS) -> bool:
    """Tell whether this is a container, as far as engines tell: by a file, or in the environment."""
    return any(mark.exists() for mark in marks) or any(os.environ.get(name) for name in CONTAINER_VARIABLES)


def device() -> Finding:
    """Check that the kernel's device is there and opens."""
    name = libfuse.DEVICE
    try:
        libfuse.check_device()
    except SystemFault as error:
        # Permission bits are the container's own business; all else its engine decides.
        if in_container() and "Permission denied" not in str(error):
            return failure(name, f"{_cause(error)} in this container", GIVE)
        if not Path(name).exists() and _has_module():
            found = f"{name} is missing, though the kernel has the module"
            return failure(name, found, f"mknod -m 666 {name} c 10 229   (as root)")
        mend = "chmod 666 /dev/fuse   (as root)" if Path(name).exists() else "modprobe fuse   (as root)"
        return failure(name, _cause(error), mend)
    return ok(name, "there and can be opened")


def library() -> Finding:
    """Check which libfuse is loaded."""
    name = "libfuse"
    try:
        version, loaded = libfuse.describe(libfuse.load())
    except SystemFault as error:
        if path := os.environ.get("FUSE_LIBRARY_PATH"):
            found = f"{path} cannot be loaded (FUSE_LIBRARY_PATH)"
            return failure(name, found, "unset FUSE_LIBRARY_PATH; apt install fuse3 libfuse3-3")
        return failed(name, error, "apt install fuse3 libfuse3-3")
    shown = f"{version[0]}.{version[1]} ({Path(loaded).name})"
    mend = "apt install fuse3 libfuse3-3"
    if version < (3, 0):
        return warning(name, f"{shown}: reads of 128 KiB in place of 1 MiB", mend)
    if version < libfuse.MAX_THREADS_SINCE:
        found = f"{shown}: older than 3.12, so that ten slow reads hold up everybody else"
        return warning(name, found, "upgrade libfuse to 3.12 or newer")
    return ok(name, shown)


def fusermount(user: int | None = None) -> Finding:  # noqa: PLR0911 - one return per cause
    """Check the program by which ordinary users mount and unmount.

    Args:
        user: who is going to mount; None for this process's user.
    """
    root = (os.geteuid() if user is None else user) == 0
    path = shutil.which(PROGRAM)
    if root and not _may_mount():
        found = "this root may not mount (no CAP_SYS_ADMIN), and fusermount3 could not either"
        unit = "add CAP_SYS_ADMIN to the unit's CapabilityBoundingSet="
        return failure("right to mount", found, GIVE if in_container() else unit)
    if root:
        return ok(PROGRAM, f"{path or 'not there'}; root mounts without it")
    if path is None:
        beside = next((place for place in USUAL_PLACES if os.access(place, os.X_OK)), None)
        if beside is not None:
            found = f"is at {beside}, but not on PATH: mounts could not be taken down"
            return failure(PROGRAM, found, f"export PATH=$PATH:{beside.parent}")
        return failure(PROGRAM, "is not there: only root can mount without it", "apt install fuse3")
    status = Path(path).stat()
    if _has_capabilities(path):
        return ok(PROGRAM, f"{path}, by file capabilities")
    if status.st_uid != 0 or not status.st_mode & stat.S_ISUID:
        found = f"{path} does not run as root, so that it can mount nothing"
        mend = f"chown root {quoted(path)} && chmod 4755 {quoted(path)}   (as root)"
        return failure(PROGRAM, found, mend)
    if os.statvfs(path).f_flag & os.ST_NOSUID:
        found = f"{path} lies on a filesystem without setuid programs"
        return failure(PROGRAM, found, "mount -o remount,suid … that filesystem, or mount as root")
    if _no_new_privileges():
        found = "this process may gain no privileges (NoNewPrivileges), so that it can mount nothing"
        return failure(PROGRAM, found, "set NoNewPrivileges=no in the unit, or mount as root")
    return ok(PROGRAM, f"{path}, setuid root")


def permission_for_others(*, wanted: bool, config: Path = CONFIG, user: int | None = None) -> Finding:
    """Check that `allow_other` is permitted, where it is wanted.

    Args:
        wanted: the setting `allow_other`.
        config: of fusermount3.
        user: who is going to mount; None for this process's user.
    """
    name = "user_allow_other"
    if (os.geteuid() if user is None else user) == 0:
        return ok(name, "root needs no permission for allow_other")
    try:
        lines = config.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        # fusermount3 reads it as root.
        return ok(name, f"{config} cannot be read ({error.strerror}), so it is not known")
    permitted = "user_allow_other" in (line.partition("#")[0].strip() for line in lines)
    if wanted and not permitted:
        found = f"allow_other is set, and {config} does not permit it to ordinary users"
        return failure(name, found, f"echo user_allow_other | sudo tee -a {quoted(config)}")
    return ok(name, "permitted" if permitted else "not permitted, and allow_other is not set")


def _cause(error: SystemFault) -> str:
    return str(error).partition("; ")[0]


def _has_module(filesystems: Path = Path("/proc/filesystems")) -> bool:
    return re.search(r"^\S*\tfuse$", _text(filesystems), re.MULTILINE) is not None


def _has_capabilities(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def _no_new_privileges(status: Path = Path("/proc/self/status")) -> bool:
    return "\nNoNewPrivs:\t1\n" in _text(status)


def _may_mount(status: Path = Path("/proc/self/status")) -> bool:
    found = re.search(r"^CapEff:\t([0-9a-f]+)$", _text(status), re.MULTILINE)
    return found is None or bool(int(found[1], 16) >> _CAP_SYS_ADMIN & 1)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
