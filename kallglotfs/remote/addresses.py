"""What kind of place an IP address is. Pure: nothing is resolved and nothing is remembered here.

Users: `reach`, which decides by it where a mount's storage may be.

The tables are those of the IANA special-purpose address registries, read the strict way round for IPv6: only
2000::/3 without its special parts is public. Forms that carry an IPv4 address inside are what that address is
where the carrying is certain (IPv4-mapped, the well-known NAT64 prefix), and never public otherwise.
"""

from __future__ import annotations

import enum
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address


class Kind(enum.Enum):
    """Whose an address is. The value is for messages."""

    PUBLIC = "public"
    #: A public IPv4 address inside an IPv6 one: through NAT64 (RFC 6052), which is how a network without IPv4
    #: reaches it, or IPv4-mapped.
    TRANSLATED = "translated"
    #: This machine. The unspecified addresses are, too: Linux connects them to itself.
    LOOPBACK = "loopback"
    #: RFC 1918, shared by a provider's customers (RFC 6598), unique-local and site-local.
    PRIVATE = "private"
    LINK_LOCAL = "link-local"
    #: Where clouds hand a machine its secrets, wherever in the address space that is.
    METADATA = "cloud metadata"
    #: Set aside for something else: multicast, broadcast, documentation, benchmarks, tunnels, unassigned.
    SPECIAL = "special-purpose"


#: Metadata addresses. The ones of the large clouds that are not link-local are why this table is needed.
_METADATA: frozenset[Address] = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google, OpenStack and most others
            "169.254.170.2",  # AWS, credentials of a container
            "169.254.170.23",  # AWS, credentials of a pod
            "fd00:ec2::254",  # AWS
            "fd00:ec2::23",  # AWS, credentials of a pod
            "fd20:ce::254",  # Google
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle, classic
            "168.63.129.16",  # Azure's host agent, on an address that looks public
        ),
    )
)
_V4: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    (Kind.LOOPBACK, ("0.0.0.0/32", "127.0.0.0/8")),
    (Kind.PRIVATE, ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")),
    (Kind.LINK_LOCAL, ("169.254.0.0/16",)),
    (
        Kind.SPECIAL,
        (
            "0.0.0.0/8",
            "192.0.0.0/24",  # IETF protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    ),
)
_V6: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    (Kind.LOOPBACK, ("::/128", "::1/128")),
    # 64:ff9b:1::/48 is NAT64 for use inside one network (RFC 8215): where IPv4 sits in it is that network's
    # affair, so it is as private as the rest.
    (Kind.PRIVATE, ("fc00::/7", "fec0::/10", "64:ff9b:1::/48")),
    (Kind.LINK_LOCAL, ("fe80::/10",)),
    (
        Kind.SPECIAL,
        (
            "2001::/23",  # IETF protocol assignments: Teredo, benchmarks, ORCHID, …
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    ),
)
_NETWORKS_V4 = tuple((kind, tuple(map(IPv4Network, texts))) for kind, texts in _V4)
_NETWORKS_V6 = tuple((kind, tuple(map(IPv6Network, texts))) for kind, texts in _V6)
_GLOBAL_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_LOW_32 = 0xFFFFFFFF
#: Third 32 bits of an ISATAP address (RFC 5214), a tunnel to the IPv4 address in the last.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


def kind_of(address: Address) -> Kind:
    """Tell what kind of place an address is.

    Args:
        address: as it would be connected to; an IPv6 scope is not looked at.
    """
    if address in _METADATA:
        return Kind.METADATA
    if isinstance(address, IPv4Address):
        for kind, networks in _NETWORKS_V4:
            if any(address in network for network in networks):
                return kind
        return Kind.PUBLIC
    return _kind_of_v6(IPv6Address(int(address)))


def literal_address(host: str) -> Address | None:
    """Return the address that a host of a URL is, None when it is a name to be resolved.

    Every notation that the C library's resolver takes for a number is one: `2130706433`, `0x7f.1`, `127.1`.

    Args:
        host: without brackets; a trailing dot and an IPv6 scope are not looked at.
    """
    text = host.rstrip(".").partition("%")[0]
    try:
        return ip_address(text)
    except ValueError:
        pass
    # The C library takes anything behind a space for a comment.
    if not text or not text.isascii() or any(mark.isspace() for mark in text):
        return None
    try:
        return IPv4Address(socket.inet_aton(text))
    except (OSError, ValueError):
        return None


def _kind_of_v6(address: IPv6Address) -> Kind:
    if address in _METADATA:
        return Kind.METADATA
    if address.ipv4_mapped is not None or address in _NAT64:
        inside = kind_of(IPv4Address(int(address) & _LOW_32))
        return Kind.TRANSLATED if inside is Kind.PUBLIC else inside
    for kind, networks in _NETWORKS_V6:
        if any(address in network for network in networks):
            return kind
    if address not in _GLOBAL_V6 or (int(address) >> 32) & _LOW_32 in _ISATAP:
        return Kind.SPECIAL
    return Kind.PUBLIC
