"""A network of a test's own: every address in the world is this machine, and names are what the test says.

A namespace lives as long as the process that holds it, and that one ends with its standard input: nothing
is left behind, however a test ends. Servers run in the test's process on sockets made inside; programs under
test are started inside. Their mounts are theirs alone, and are looked at through `/proc`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
A, AAAA = 1, 28
#: Of Linux; not in the `socket` module.
IPV6_FREEBIND = 78
CLONE_NEWNET = 0x40000000
DNS = "127.0.0.53"
SETUP = f"""
set -e
mount --make-rprivate /
ip link set lo up
ip -4 route add local 0.0.0.0/0 dev lo
ip -6 addr add 2606:4700::1/128 dev lo nodad
ip -6 route add local ::/0 dev lo
printf 'nameserver {DNS}\\noptions timeout:1 attempts:1\\n' > resolv.conf
printf '127.0.0.1 localhost\\n::1 localhost\\n' > hosts
printf 'hosts: files dns\\n' > nsswitch.conf
for name in resolv.conf hosts nsswitch.conf; do
    [ -e /etc/$name ] && mount --bind $name /etc/$name
done
echo ready
exec cat
"""


@dataclass
class Network:
    """The namespace of one test.

    Attributes:
        names: what each name resolves to; a list of lists gives one after the other, the last for ever.
        looked_up: the names asked for, in order.
        asked: the types of address that the look-up under way has asked for.
        caught: the addresses at which the trap was reached.
        trap: its port.
    """

    holder: int
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    looked_up: list[str] = field(default_factory=list)
    asked: dict[str, set[int]] = field(default_factory=dict)
    caught: list[str] = field(default_factory=list)
    trap: int = 0

    def command(self) -> list[str]:
        """Return what to put before a command so that it runs inside."""
        directory = f"/proc/{self.holder}/ns"
        return ["nsenter", f"--net={directory}/net", f"--mount={directory}/mnt", "--wd=/"]

    def path(self, path: Path) -> Path:
        """Return where a path inside is seen from outside."""
        return Path(f"/proc/{self.holder}/root{path}")

    def inside(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, called on a thread inside; sockets it makes stay there."""
        found: Future[T] = Future()

        def run() -> None:
            library = ctypes.CDLL(None, use_errno=True)
            with open(f"/proc/{self.holder}/ns/net", "rb") as file:  # noqa: PTH123
                assert library.setns(file.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                found.set_result(work())
            except OSError as error:
                found.set_exception(error)

        # A thread of its own, since a thread that has entered stays.
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return found.result(0)

    def listen(self, address: str, port: int = 0) -> socket.socket:
        """Return a socket that listens inside."""
        return self.inside(lambda: _listening(address, port))

    def connect(self, address: str, port: int) -> None:
        """Connect from inside and close again: what anybody there could do."""
        self.inside(lambda: socket.create_connection((address, port), timeout=5)).close()


@contextlib.contextmanager
def network(directory: Path) -> Iterator[Network]:
    """Make a network for the length of the block; skips the test where none can be made.

    Args:
        directory: an empty one.
    """
    try:
        holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", SETUP],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except OSError as error:
        pytest.skip(f"NOT TESTED: no network namespace can be made here: {error}")
    with holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != "ready\n":
            reason = holder.stderr.read().strip()
            pytest.skip(f"NOT TESTED: no network namespace can be made here: {reason}")
        made = Network(holder.pid)
        try:
            with _resolver(made), _trap(made):
                yield made
        finally:
            assert holder.stdin is not None
            holder.stdin.close()
            holder.wait(10)


@contextlib.contextmanager
def _trap(network: Network) -> Iterator[None]:
    """Take connections on one port of every address there is, note them, and have nothing to say."""
    first = network.listen("0.0.0.0")
    network.trap = first.getsockname()[1]
    second = network.listen("::", network.trap)
    ended = threading.Event()

    def take(listening: socket.socket) -> None:
        while True:
            taken, _ = listening.accept()
            with taken:
                if ended.is_set():
                    return
                network.caught.append(str(ip_address(taken.getsockname()[0].partition("%")[0])))
                # An answer that nobody tries again for.
                with contextlib.suppress(OSError):
                    taken.settimeout(2)
                    if taken.recv(65536):
                        taken.sendall(b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n")

    threads = [threading.Thread(target=take, args=(each,)) for each in (first, second)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        network.connect("127.0.0.1", network.trap)
        network.connect("::1", network.trap)
        for thread in threads:
            thread.join(10)
        first.close()
        second.close()


def _listening(address: str, port: int) -> socket.socket:
    if ":" not in address:
        return socket.create_server((address, port), backlog=128)
    listening = socket.socket(socket.AF_INET6)
    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listening.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    listening.bind((address, port))
    listening.listen(128)
    return listening


@contextlib.contextmanager
def _resolver(network: Network) -> Iterator[None]:
    """Answer the namespace's questions for addresses."""
    asked = network.inside(lambda: _udp(DNS, 53))

    def serve() -> None:
        while True:
            question, sender = asked.recvfrom(4096)
            if not question:
                return
            asked.sendto(_answer(network, question), sender)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        with network.inside(lambda: _udp("127.0.0.1", 0)) as last:
            last.sendto(b"", (DNS, 53))
        thread.join(10)
        asked.close()


def _udp(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    return made


def _answer(network: Network, question: bytes) -> bytes:
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode())
        at += 1 + question[at]
    name = ".".join(labels).lower()
    (kind,) = struct.unpack("!H", question[at + 1 : at + 3])
    steps = network.names.get(name, [])
    current = steps[0] if steps else []
    wanted, size = {A: (4, 4), AAAA: (6, 16)}.get(kind, (0, 0))
    # Both questions of one look-up get the same step, in whatever order they come.
    asked = network.asked.setdefault(name, set())
    asked.add(kind)
    if asked >= {A, AAAA}:
        asked.clear()
        network.looked_up.append(name)
        if len(steps) > 1:
            steps.pop(0)
    records = [ip_address(each).packed for each in current if ip_address(each).version == wanted]
    end = at + 5
    head = question[:2] + struct.pack("!HHHHH", 0x8580 | (0 if steps else 3), 1, len(records), 0, 0)
    body = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 0, size) + each for each in records)
    return head + question[12:end] + body
