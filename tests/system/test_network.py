"""Where a mount connects to, in a network where every address answers: nowhere its API may not send it."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from certificates import Authority
from conftest import MountedFolder, environment, mount_command, reading, running, wait_until
from netns import Network, network
from scripted import Asked, Scripted, no_recording, ranged, recording, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

API, STORAGE, INSIDE = "93.184.216.34", "93.184.216.35", "10.0.0.5"
CONTENT = bytes(range(256)) * 1000
KEY = "sk_test_canary"

#: Addresses that a service on the internet has no business with, as they may stand in a URL.
FORBIDDEN = """
    127.0.0.1 127.8.9.10 127.1 127.0.0.1. 2130706433 0x7f000001 0x7f.1 0177.0.0.1 017700000001 0.0.0.0 0
    10.0.0.1 172.16.0.1 172.31.255.254 192.168.1.1 0x0a000001 10.1
    169.254.1.1 169.254.169.254 0xa9fea9fe 2852039166 169.254.170.2 100.100.100.200 192.0.0.192 168.63.129.16
    100.64.0.1 100.127.255.254 198.18.0.1 192.0.2.1 198.51.100.1 203.0.113.1 192.88.99.1 240.0.0.1
    255.255.255.255 224.0.0.1 0.0.0.1 localhost LOCALHOST localhost. %6c%6fcalhost 127.0.0.%31
    [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:10.0.0.1] [::ffff:169.254.169.254]
    [::ffff:93.184.216.35] [::127.0.0.1] [::93.184.216.35] [64:ff9b::127.0.0.1] [64:ff9b::10.0.0.1]
    [64:ff9b::a9fe:a9fe] [64:ff9b::93.184.216.35] [64:ff9b:1::1] [64:ff9b:1::7f00:1] [2002:7f00:1::1]
    [2002:5db8:d823::1] [2001:0:5db8:d823::1] [fc00::1] [fd00::1] [fd00:ec2::254] [fec0::1] [fe80::1]
    [fe80::1%25lo] [fe80::1%lo] [2001:db8::1] [ff02::1%25lo] [100::1] [3fff::1]
    inside.example here.example metadata.example both.example mapped.example nat.example"""

NAMES = {
    "inside.example": [["10.0.0.1"]],
    "here.example": [["127.0.0.1", "::1"]],
    "metadata.example": [["169.254.169.254", "fd00:ec2::254"]],
    "both.example": [["100.64.0.1", "fd00::1"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "nat.example": [["64:ff9b::7f00:1"]],
    "storage.example": [[STORAGE]],
    "api.example": [[API]],
}


@dataclass
class World:
    """A service on public addresses, and whatever it sends its clients to."""

    network: Network
    api: Scripted
    storage: Scripted
    #: Where each recording is said to be.
    places: dict[str, str] = field(default_factory=dict)

    def place(self, url: str) -> str:
        """Say that a new recording is at `url`, and return its name."""
        name = f"rec_{len(self.places)}"
        self.places[name] = url
        return name

    def hop(self, url: str) -> str:
        """Return a URL of the storage that redirects to `url`."""
        return f"{self.storage.origin}/hop?to={quote(url, safe='')}&signature=CANARY"

    def of_api(self, asked: Asked) -> bytes:
        """Answer as the API."""
        name, _, route = asked.path.removeprefix("/v1/recordings/").partition("/")
        place = self.places.get(name)
        if place is None:
            return no_recording()
        if route == "download":
            return reply(302, Location=place)
        return recording(name, place, len(CONTENT))

    def of_storage(self, asked: Asked) -> bytes:
        """Answer as the storage."""
        if asked.path == "/hop":
            return reply(302, Location=asked.query["to"])
        return ranged(asked, CONTENT, ETag='"v1"', Connection="close")


@contextlib.contextmanager
def world(directory: Path, api: str = API, storage: str = STORAGE, **tls: object) -> Iterator[World]:
    """Run a service in a network of its own until the block ends."""
    directory.mkdir()
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(network(directory))
        net.names.update({name: [list(each) for each in steps] for name, steps in NAMES.items()})
        first = stack.enter_context(scripted(net.listen(api), **tls))  # type: ignore[arg-type]
        second = stack.enter_context(scripted(net.listen(storage), **tls))  # type: ignore[arg-type]
        made = World(net, first, second)
        first.answer, second.answer = made.of_api, made.of_storage
        yield made


@contextlib.contextmanager
def mounted(made: World, directory: Path, api_url: str, **variables: str) -> Iterator[MountedFolder]:
    """Mount inside a network until the block ends."""
    path, log_file = directory / "mnt", directory / "log"
    options: dict[str, object] = {
        "api_url": api_url,
        "state_dir": directory / "state",
        "log_file": log_file,
        "log_level": "debug",
        "timeout": "2s",
    }
    command = mount_command(path, options, "--foreground")
    with running(made.network.command() + command, environment(KEY) | variables, path) as process:
        yield MountedFolder(made.network.path(path), directory, log_file, process, command)


def outcome(folder: MountedFolder, name: str, extension: str = "mp3") -> str:
    """Return how reading a recording ends: `read`, or the name of an errno."""
    return reading(folder.recordings / f"{name}.{extension}", CONTENT)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, MountedFolder]]:
    """A mount of a service on public addresses, by plain http so that schemes do not hide addresses."""
    directory = tmp_path_factory.mktemp("public")
    with (
        world(directory / "net") as made,
        mounted(made, directory, f"{made.api.origin}/v1") as folder,
    ):
        yield made, folder


def test_the_trap_catches(tmp_path: Path) -> None:
    """What the other tests rely on: each of the addresses would take a connection."""
    made = tmp_path / "net"
    made.mkdir()
    with network(made) as net:
        reached = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "::1", "fd00::1"]
        reached += ["64:ff9b::7f00:1", "2002:7f00:1::1", "fd00:ec2::254", "168.63.129.16", "fe80::1%lo"]
        for address in reached:
            net.connect(address, net.trap)
        assert wait_until(lambda: len(net.caught) == len(reached))
        assert set(net.caught) == {address.partition("%")[0] for address in reached}


def test_a_public_storage_is_read_directly_and_over_hops(public: tuple[World, MountedFolder]) -> None:
    """By address, by name, over three hops, at any port; no hop hears who sent us or gets a credential."""
    made, folder = public
    good = f"{made.storage.origin}/x?signature=CANARY"
    named = good.replace(STORAGE, "storage.example")
    for url in (good, named, good.replace("http:", ""), made.hop(made.hop(made.hop(named)))):
        if url.startswith("//"):
            url = made.hop(url)  # noqa: PLW2901
        assert outcome(folder, made.place(url)) == "read"
    names = {name for asked in made.storage.asked for name in asked.headers}
    assert not names & {"authorization", "x-api-key", "cookie", "referer", "proxy-authorization"}
    assert made.network.caught == []


@pytest.mark.parametrize("host", FORBIDDEN.split())
def test_a_public_api_cannot_send_us_to_what_is_not_public(
    host: str, public: tuple[World, MountedFolder]
) -> None:
    """Neither by its signed URL nor by a hop of its storage: EACCES, no connection, nothing logged."""
    made, folder = public
    url = f"http://{host}:{made.network.trap}/x?signature=CANARY"
    first, second = made.place(url), made.place(made.hop(url))
    hops = len(made.storage.asked)
    assert outcome(folder, first) == "EACCES"
    assert outcome(folder, first, "ogg") == "EACCES"
    assert outcome(folder, second) == "EACCES"
    assert len(made.storage.asked) == hops + 1
    assert made.network.caught == []
    assert "CANARY" not in folder.log


STRANGE = [
    "file:///etc/passwd",
    "ftp://93.184.216.35/x",
    "gopher://93.184.216.35/x",
    "data:audio/mpeg;base64,AAAA",
    "javascript:alert(1)",
    "unix:///run/docker.sock",
    "http+unix://%2Frun%2Fdocker.sock/x",
    "ws://93.184.216.35/x",
    "//127.0.0.1:{trap}/x",
    "http://user:password@93.184.216.35:{trap}/x",
    "http://user@93.184.216.35:{trap}/x",
    "http://@93.184.216.35:{trap}/x",
    "http://93.184.216.35\\@127.0.0.1:{trap}/x",
    "http://127.0.0.1:{trap}\\@93.184.216.35/x",
    "http:\\\\127.0.0.1:{trap}\\x",
    "http://93.184.216.35:{trap}#@127.0.0.1:{trap}/",
    "http://93.184.216.35@127.0.0.1:{trap}/",
    "http://127.0.0.1:{trap}?@93.184.216.35/",
    "http://127.0.0.1\t:{trap}/x",
    "http://127.0.0.1\u3002:{trap}/x",
    "http://\uff11\uff12\uff17.0.0.1:{trap}/x",
    "http://\u2460\u2461\u2466.0.0.1:{trap}/x",
    "http://loc\u00adalhost:{trap}/x",
    "http://[127.0.0.1]:{trap}/x",
    "http://[::1:{trap}/x",
    "http://:{trap}/x",
    "http://" + "a" * 70 + ".example:{trap}/x",
    "http://" + "a." * 3000 + "example:{trap}/x",
    "http://10.0.0.1:99999/x",
    "http://10.0.0.1:-1/x",
    "http://xn--:{trap}/x",
]


@pytest.mark.parametrize("url", STRANGE, ids=lambda url: url[:40])
def test_no_way_of_writing_a_url_gets_around_it(url: str, public: tuple[World, MountedFolder]) -> None:
    """Whatever one program reads into it and another does not: nothing that is not public is connected to."""
    made, folder = public
    url = url.replace("{trap}", str(made.network.trap))
    ends = {outcome(folder, made.place(url))}
    if url.isascii() and url.isprintable():
        ends.add(outcome(folder, made.place(made.hop(url))))
    assert not ends & {"read", "EAGAIN", "EINTR", "EINVAL", "ETIMEDOUT"}
    if re.match(r"(?!http:)[a-z+]+:|http://[^/]*@", url) and "#" not in url:
        assert ends == {"EACCES"}
    assert set(made.network.caught) <= {STORAGE}
    made.network.caught.clear()


def test_what_looks_like_a_host_and_is_a_path_stays_with_who_sent_it(
    public: tuple[World, MountedFolder],
) -> None:
    """Two ways of writing a relative reference, in a redirect; the key goes nowhere."""
    made, folder = public
    for location in (f"///127.0.0.1:{made.network.trap}/x", f"http:127.0.0.1:{made.network.trap}/x"):
        before = len(made.storage.asked)
        assert outcome(folder, made.place(made.hop(location))) == "read"
        assert len(made.storage.asked) > before + 1
    assert made.network.caught == []


def test_a_name_with_an_address_inside_and_one_outside_leads_outside(
    public: tuple[World, MountedFolder],
) -> None:
    """Each address is looked at, and only the good one is tried."""
    made, folder = public
    made.network.names["mixed.example"] = [["10.0.0.1", "93.184.216.99", "fd00::1"]]
    outcome(folder, made.place(f"http://mixed.example:{made.network.trap}/x"))
    assert set(made.network.caught) == {"93.184.216.99"}
    made.network.caught.clear()


def test_an_address_that_refuses_is_passed_by(public: tuple[World, MountedFolder]) -> None:
    """A storage of several addresses is read as long as one of them answers."""
    made, folder = public
    made.network.names["several.example"] = [["93.184.216.98", "2606:4700::98", STORAGE, "93.184.216.99"]]
    url = made.storage.origin.replace(STORAGE, "several.example") + "/x"
    assert outcome(folder, made.place(url)) == "read"


def test_a_name_that_is_given_another_address_gains_nothing(public: tuple[World, MountedFolder]) -> None:
    """DNS rebinding of the storage: public once, then this machine, on the same port."""
    made, folder = public
    port = int(made.storage.origin.rpartition(":")[2])
    with scripted(made.network.listen("127.0.0.1", port)) as decoy:
        made.network.names["rebound.example"] = [[STORAGE], ["127.0.0.1"]]
        first, second = (made.place(f"http://rebound.example:{port}/{each}") for each in "ab")
        assert outcome(folder, first) == "read"
        assert outcome(folder, second) == "EACCES"
        assert made.network.looked_up.count("rebound.example") >= 2
        assert decoy.connections == 0
        made.network.connect("127.0.0.1", port)
        assert wait_until(lambda: decoy.connections == 1)


def test_a_network_without_ipv4_reaches_public_storage_by_nat64(public: tuple[World, MountedFolder]) -> None:
    """Its resolver makes up the address; one that is not public inside is refused all the same."""
    made, folder = public
    made.network.names["dns64.example"] = [["64:ff9b::93.184.216.35"]]
    with scripted(made.network.listen("64:ff9b::5db8:d823")) as nat:
        nat.answer = made.of_storage
        port = nat.origin.rpartition(":")[2]
        assert outcome(folder, made.place(f"http://dns64.example:{port}/x")) == "read"
        assert nat.connections >= 1


def test_redirects_end(public: tuple[World, MountedFolder]) -> None:
    """Four hops or a loop: EACCES, after four requests."""
    made, folder = public
    good = f"{made.storage.origin}/x"
    before = len(made.storage.asked)
    assert outcome(folder, made.place(made.hop(made.hop(made.hop(made.hop(good)))))) == "EACCES"
    assert len(made.storage.asked) == before + 4
    made.storage.answer = lambda _: reply(302, Location="/loop?signature=CANARY")
    try:
        assert outcome(folder, made.place(good)) == "EACCES"
    finally:
        made.storage.answer = made.of_storage
    assert len(made.storage.asked) == before + 8
    assert "CANARY" not in folder.log


def test_an_api_that_is_mended_is_read_within_two_seconds(public: tuple[World, MountedFolder]) -> None:
    """A lease that leads to where we do not go is not kept for the hour it would be good for."""
    made, folder = public
    name = made.place(f"http://127.0.0.1:{made.network.trap}/x")
    before = len(made.api.asked)
    for _ in range(20):
        assert outcome(folder, name) == "EACCES"
    assert len(made.api.asked) - before <= 4
    made.places[name] = f"{made.storage.origin}/x"
    assert wait_until(lambda: outcome(folder, name) == "read", 2)
    assert made.network.caught == []


def test_a_private_api_may_have_its_storage_on_private_networks(tmp_path: Path) -> None:
    """With no switch, and on its own machine or in public; link-local and metadata stay closed."""
    with (
        world(tmp_path / "net", INSIDE, "192.168.7.7") as made,
        mounted(made, tmp_path, f"{made.api.origin}/v1") as folder,
    ):
        assert outcome(folder, made.place(f"{made.storage.origin}/x")) == "read"
        for host in ("127.0.0.1", "100.64.0.1", "[fd00::1]", "93.184.216.40"):
            outcome(folder, made.place(f"http://{host}:{made.network.trap}/x"))
        assert set(made.network.caught) == {"127.0.0.1", "100.64.0.1", "fd00::1", "93.184.216.40"}
        made.network.caught.clear()
        for host in ("169.254.169.254", "[fd00:ec2::254]", "[fe80::1%25lo]", "100.100.100.200"):
            assert outcome(folder, made.place(f"http://{host}:{made.network.trap}/x")) == "EACCES"
        assert made.network.caught == []


def test_rebinding_the_name_of_the_api_only_ever_takes_away(tmp_path: Path) -> None:
    """Public once, public for good: its private address of later opens no private network."""
    with world(tmp_path / "net") as made:
        port = int(made.api.origin.rpartition(":")[2])
        with (
            scripted(made.network.listen(INSIDE, port)) as inside,
            mounted(made, tmp_path, f"http://api.example:{port}/v1") as folder,
        ):
            inside.answer = made.of_api
            assert outcome(folder, made.place(f"{made.storage.origin}/x")) == "read"
            made.network.names["api.example"] = [[INSIDE]]
            # Kept connections to the API's old address are closed, so that the new one is used.
            made.api.answer = lambda _: None
            name = made.place(f"http://10.0.0.1:{made.network.trap}/x")
            assert outcome(folder, name) == "EACCES"
            assert inside.connections >= 1
            assert made.network.caught == []
            assert outcome(folder, made.place(f"{made.storage.origin}/x")) == "read"


def test_an_https_api_has_https_storage(tmp_path: Path) -> None:
    """From the first URL on; certificates are of the URLs' names; addresses are looked at as ever."""
    authority = Authority()
    bundle = authority.write(tmp_path / "ca.pem")
    tls = authority.server("api.example", "storage.example", STORAGE)
    with world(tmp_path / "net", tls=tls) as made:
        port = made.api.origin.rpartition(":")[2]
        good = made.storage.origin.replace(STORAGE, "storage.example") + "/x"
        url = f"https://api.example:{port}/v1"
        with mounted(made, tmp_path, url, REQUESTS_CA_BUNDLE=str(bundle)) as folder:
            assert outcome(folder, made.place(good)) == "read"
            assert outcome(folder, made.place(made.hop(good))) == "read"
            for place in (
                f"http://93.184.216.35:{made.network.trap}/x",
                f"http://127.0.0.1:{made.network.trap}/x",
                f"https://127.0.0.1:{made.network.trap}/x",
                f"https://inside.example:{made.network.trap}/x",
                f"https://169.254.169.254:{made.network.trap}/x",
            ):
                assert outcome(folder, made.place(place)) == "EACCES"
                assert outcome(folder, made.place(made.hop(place))) == "EACCES"
            assert made.network.caught == []
            assert made.api.agreed == made.api.connections
