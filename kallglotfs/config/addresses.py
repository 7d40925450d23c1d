"""Where to listen: a host and port, or a Unix socket's path. Pure.

Users: `fields.py`, which reads it from a setting, and the webhook receiver, which listens there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import PurePosixPath

#: What begins a Unix socket's path.
UNIX = "unix:"
#: The longest path of a Unix socket, in bytes (`sun_path` of unix(7), less its closing zero).
LONGEST_PATH = 107

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen.

    Attributes:
        host: a name or an address, without brackets; empty for a Unix socket.
        port: of the host; 0 for a free one.
        path: of the Unix socket; empty for a host.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"{UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `127.0.0.1:8787`, `[::1]:8787`, `localhost:8787` or `unix:/run/x.sock`.

    Raises:
        ValueError: the text is not an address.
    """
    text = text.strip()
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        fits = path.isprintable() and len(path.encode(errors="surrogateescape")) <= LONGEST_PATH
        if not fits or not PurePosixPath(path).is_absolute() or path.endswith("/"):
            raise ValueError("not a socket's path")
        return Address(path=path)
    host, _, port = text.rpartition(":")
    if _PORT.fullmatch(port) is None or int(port) > _LAST_PORT:
        raise ValueError("no port")
    if host.startswith("[") and host.endswith("]"):
        return Address(str(IPv6Address(host[1:-1])), int(port))
    if _HOST.fullmatch(host) is None:
        raise ValueError("not a host")
    return Address(host, int(port))
