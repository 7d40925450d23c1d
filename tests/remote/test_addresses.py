"""What kind of place an address is, and which notations are addresses."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallglotfs.remote.addresses import Kind, kind_of, literal_address

KINDS = {
    Kind.PUBLIC: """
        1.1.1.1 93.184.216.34 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
        169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255
        198.20.0.0 223.255.255.255 168.63.129.15
        2606:4700::1 2a00:1450:4001::1 2620:0:2d0::1 2001:200::1 2001:4860:4860::8888 2003::1""",
    Kind.TRANSLATED: """
        64:ff9b::5db8:d822 64:ff9b::93.184.216.34 ::ffff:93.184.216.34 ::ffff:1.1.1.1""",
    Kind.LOOPBACK: """
        127.0.0.1 127.0.0.2 127.255.255.255 0.0.0.0 ::1 ::
        ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:0.0.0.0 64:ff9b::127.0.0.1 64:ff9b::7f00:1 64:ff9b::0.0.0.0""",
    Kind.PRIVATE: """
        10.0.0.0 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255
        100.64.0.0 100.64.0.1 100.127.255.255
        fc00::1 fd00::1 fdff:ffff::1 fec0::1 64:ff9b:1::1 64:ff9b:1::7f00:1 64:ff9b:1:ffff::93.184.216.34
        ::ffff:10.0.0.1 ::ffff:100.64.0.1 64:ff9b::10.0.0.1 64:ff9b::192.168.1.1 64:ff9b::100.64.0.1""",
    Kind.LINK_LOCAL: """
        169.254.0.0 169.254.0.1 169.254.255.255 fe80::1 febf::1 fe80::1%eth0
        ::ffff:169.254.1.1 64:ff9b::169.254.1.1""",
    Kind.METADATA: """
        169.254.169.254 169.254.170.2 169.254.170.23 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 100.100.100.200
        192.0.0.192 168.63.129.16 fd00:ec2::254%eth0
        ::ffff:169.254.169.254 ::ffff:a9fe:a9fe 64:ff9b::169.254.169.254 64:ff9b::a9fe:a9fe
        64:ff9b::168.63.129.16""",
    Kind.SPECIAL: """
        0.0.0.1 0.255.255.255 192.0.0.1 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.175.48.1
        198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
        255.255.255.254 255.255.255.255
        ::2 ::127.0.0.1 ::10.0.0.1 ::93.184.216.34 ::ffff:0:127.0.0.1 64:ff9b:2::1 100::1 5f00::1
        2001::1 2001:0:5db8:d822::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2001:1ff::1
        2002:7f00:1::1 2002:a9fe:a9fe::1 2002:5db8:d822::1 2620:4f:8000::1 3fff::1 3fff:fff::1
        4000::1 8000::1 fe00::1 ff02::1 ff0e::1 ffff::1
        2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:93.184.216.34
        ::ffff:255.255.255.255 ::ffff:224.0.0.1 64:ff9b::255.255.255.255 64:ff9b::198.18.0.1""",
}
CASES = [(text, kind) for kind, texts in KINDS.items() for text in texts.split()]


@pytest.mark.parametrize(("text", "kind"), CASES, ids=str)
def test_an_address_is_of_its_kind(text: str, kind: Kind) -> None:
    """Each registry entry at its edges, and every form with an IPv4 address inside."""
    assert kind_of(ip_address(text)) is kind


@given(st.ip_addresses())
def test_nothing_that_the_standard_library_calls_private_is_public(address: object) -> None:
    """Its table is another one, so each looks after the other."""
    address = ip_address(str(address))
    if kind_of(address) is Kind.PUBLIC:
        assert address.is_global
        assert not any((address.is_private, address.is_multicast, address.is_reserved, address.is_loopback))


@given(st.ip_addresses(v=4, network="0.0.0.0/0"))
def test_wrapping_an_address_never_makes_it_public(address: IPv4Address) -> None:
    """IPv4-mapped, compatible, NAT64, 6to4: none is a way around."""
    inside = kind_of(address)
    number = int(address)
    for prefix in ("::ffff:0:0/96", "64:ff9b::/96"):
        kind = kind_of(ip_network(prefix)[number])
        assert kind is (Kind.TRANSLATED if inside is Kind.PUBLIC else inside)
    for prefix in ("64:ff9b:1::/96", "2002::/48"):
        assert kind_of(ip_network(prefix)[number]) not in (Kind.PUBLIC, Kind.TRANSLATED)
    assert kind_of(ip_network("::/96")[number]) not in (Kind.PUBLIC, Kind.TRANSLATED)
    assert kind_of(ip_address(0x2002 << 112 | number << 80)) is Kind.SPECIAL


LITERALS = {
    "127.0.0.1": "127.0.0.1",
    "127.0.0.1.": "127.0.0.1",
    "127.0.0.1..": "127.0.0.1",
    "2130706433": "127.0.0.1",
    "2130706433.": "127.0.0.1",
    "0x7f000001": "127.0.0.1",
    "0x7F.1": "127.0.0.1",
    "0177.0.0.1": "127.0.0.1",
    "017700000001": "127.0.0.1",
    "127.1": "127.0.0.1",
    "127.0.1": "127.0.0.1",
    "0": "0.0.0.0",
    "0xA9FEA9FE": "169.254.169.254",
    "::1": "::1",
    "::ffff:127.0.0.1": "::ffff:7f00:1",
    "0:0:0:0:0:ffff:7f00:1": "::ffff:7f00:1",
    "fe80::1%25eth0": "fe80::1",
    "fe80::1%eth0": "fe80::1",
}


@pytest.mark.parametrize(("host", "address"), LITERALS.items())
def test_a_number_in_any_notation_is_an_address(host: str, address: str) -> None:
    """As the C library's resolver reads it."""
    found = literal_address(host)
    assert found == ip_address(address)


@pytest.mark.parametrize("host", [text for text in LITERALS if ":" not in text and not text.endswith(".")])
def test_the_resolver_reads_the_notation_as_we_do(host: str) -> None:
    """Without asking anybody: so these must count as numbers."""
    (found, *_) = socket.getaddrinfo(host, 80, socket.AF_INET, socket.SOCK_STREAM)
    assert found[4][0] == str(literal_address(host))


@pytest.mark.parametrize(
    "host",
    ["", ".", "localhost", "storage.kallglot.com", "127.0.0.1.nip.io", "1.2.3.4.5", "256.1.1.1", "08.1",
     "4294967296", "127.0.0.1 x", "0x", "1e3", "127.0.0.\u0661", "127。0。0。1", "::g", "a:b", "-1", "1..2",
     "xn--mnchen-3ya.de"],
)  # fmt: skip
def test_a_name_is_not_an_address(host: str) -> None:
    """It is resolved, and what comes out is looked at."""
    assert literal_address(host) is None
