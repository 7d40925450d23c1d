"""The socket that deliveries come in on.

It listens from the moment it is made, so that an address which is taken is noticed before anything is
mounted: two sockets that are only bound may share one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from kallglotfs.errors import MountError

if TYPE_CHECKING:
    from kallglotfs.config.addresses import Address

#: Connections the kernel keeps until they are accepted.
BACKLOG = 1024
#: A Unix socket is for the owner and the group, in which the proxy is.
SOCKET_MODE = 0o660


class Listening:
    """A listening socket.

    Args:
        address: where; of a name's addresses, the first.
        setting: what gave the address, for messages.

    Raises:
        MountError: one cannot listen there.
    """

    def __init__(self, address: Address, setting: str = "webhook_listen") -> None:
        self._path = Path(address.path) if address.path else None
        self._inode = 0
        try:
            self.socket = _unix(Path(address.path)) if address.path else _tcp(address.host, address.port)
            if self._path is not None:
                self._inode = self._path.lstat().st_ino
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise MountError(f"{setting}: cannot listen on {address}: {reason}") from None

    @property
    def port(self) -> int:
        """The port; 0 for a Unix socket."""
        return 0 if self._path is not None else int(self.socket.getsockname()[1])

    @property
    def is_local(self) -> bool:
        """Tell whether only this machine can reach it."""
        if self._path is not None:
            return True
        return ip_address(self.socket.getsockname()[0].partition("%")[0]).is_loopback

    def close(self) -> None:
        """Free the address."""
        self.socket.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                # Another process may have put its own there meanwhile.
                if self._path.lstat().st_ino == self._inode:
                    self._path.unlink()


def _tcp(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # `localhost` has two; proxies that try one alone try 127.0.0.1.
    family, _, _, _, address = min(found, key=lambda entry: entry[0] is not socket.AF_INET)
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Else the connections of the mount before, which linger for a minute, hold the address.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _unix(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        made.bind(str(path))
        path.chmod(SOCKET_MODE)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _clear(path: Path) -> None:
    """Remove a socket that a mount left behind when it was killed; nobody answers there."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003 - socket's own
        if probe.connect_ex(os.fspath(path)) == errno.ECONNREFUSED:
            path.unlink()
