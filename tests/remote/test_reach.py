"""Where the storage may be, and what a URL may look like."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from kallglotfs.errors import NotPermitted
from kallglotfs.remote.gates import ApiGate
from kallglotfs.remote.reach import Reach, shown_host

PLACES = {
    "public": "93.184.216.35",
    "nat64": "64:ff9b::93.184.216.35",
    "private": "192.168.1.1",
    "shared": "100.64.0.1",
    "loopback": "127.0.0.1",
    "link": "169.254.1.1",
    "metadata": "169.254.169.254",
    "special": "198.18.0.1",
}
OUTSIDE = {"public", "nat64"}
INSIDE = OUTSIDE | {"private", "shared", "loopback"}


def open_to(reach: Reach) -> set[str]:
    """Return the places that names may resolve to."""
    return {place for place, text in PLACES.items() if reach.admits(ip_address(text), named=True)}


@pytest.mark.parametrize(
    ("address", "places"),
    [
        ("93.184.216.34", OUTSIDE),
        ("64:ff9b::93.184.216.34", OUTSIDE),
        ("2606:4700::1", OUTSIDE),
        ("10.0.0.1", INSIDE),
        ("100.64.9.9", INSIDE),
        ("fd00::1", INSIDE),
        ("127.0.0.1", INSIDE),
        ("0.0.0.0", INSIDE),
        ("::1", INSIDE),
        ("169.254.7.7", INSIDE | {"link", "metadata"}),
        ("fe80::1", INSIDE | {"link", "metadata"}),
        ("198.18.0.9", OUTSIDE | {"special"}),
    ],
)
def test_the_storage_may_be_where_the_api_is(address: str, places: set[str]) -> None:
    """Known from the URL where it holds an address, else from the first connection."""
    shown = f"[{address}]" if ":" in address else address
    assert open_to(Reach(f"http://{shown}:8000/v1")) == places
    named = Reach("https://api.example/v1")
    assert open_to(named) == OUTSIDE
    named.reached(ip_address(address))
    assert open_to(named) == places


def test_another_address_of_the_api_only_ever_takes_away() -> None:
    """In whatever order they come."""
    reach = Reach("http://api.example/v1")
    reach.reached(ip_address("10.0.0.1"))
    assert open_to(reach) == INSIDE
    reach.reached(ip_address("169.254.1.1"))
    assert open_to(reach) == INSIDE
    reach.reached(ip_address("93.184.216.34"))
    assert open_to(reach) == OUTSIDE
    for text in ("10.0.0.1", "127.0.0.1", "169.254.169.254"):
        reach.reached(ip_address(text))
        assert open_to(reach) == OUTSIDE


def test_nothing_changes_hands_while_nothing_changes() -> None:
    """What is allowed stays the same object, by which pools tell that they need not be dropped."""
    reach = Reach("http://127.0.0.1/v1")
    before = reach.allowed
    reach.reached(ip_address("127.0.0.1"))
    assert reach.allowed is before


def test_a_translated_address_is_for_resolvers_to_make_up() -> None:
    """Written into a URL by a service on the internet, it is refused."""
    address = ip_address("64:ff9b::93.184.216.35")
    assert Reach("https://api.example/v1").admits(address, named=True)
    assert not Reach("https://api.example/v1").admits(address, named=False)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("ftp://storage.example/x", "neither http nor https"),
        ("file:///etc/passwd", "neither http nor https"),
        ("javascript:alert(1)", "neither http nor https"),
        ("data:,x", "neither http nor https"),
        ("/x", "neither http nor https"),
        ("", "neither http nor https"),
        ("https://user:CANARY@storage.example/x", "user name"),
        ("https://user@storage.example/x", "user name"),
        ("https://@storage.example/x", "user name"),
        ("https://storage.example\\@127.0.0.1/x", "backslashes"),
        ("https://storage.example/\tx", "control"),
        ("https://storage.example/\r\nX-Injected: 1", "control"),
        ("https://stor\nage.example/x", "control"),
        ("https:///x", "without a host"),
        ("https://:443/x", "without a host"),
        ("https://[::1/x", "cannot be read"),
        ("http://storage.example/x?signature=CANARY", "plain http"),
    ],
)
def test_a_url_that_we_do_not_go_to(url: str, part: str) -> None:
    """Each says why, and not what."""
    with pytest.raises(NotPermitted, match=part) as caught:
        Reach("https://api.example/v1").check_url(url)
    assert "CANARY" not in str(caught.value)


def test_an_http_api_has_storage_of_either_scheme() -> None:
    """The user chose to do without TLS."""
    reach = Reach("http://api.example/v1")
    reach.check_url("http://storage.example:22/x")
    reach.check_url("https://storage.example/x y?z=\u00e4")


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example:443/v1/x",
        "https://api.example./v1/x",
        "https://api.example.evil.example/v1/x",
        "https://evil.example/v1/x",
        "http://api.example/v1/x",
        "https://user@api.example/v1/x",
        "https://api.example@evil.example/v1/x",
        "https://api.example\\.evil.example/v1/x",
        "https://api.exam\tple/v1/x",
        "//api.example/v1/x",
    ],
)
def test_the_key_goes_to_the_origin_as_configured(url: str) -> None:
    """Anything else, a port or a dot included, is another origin."""
    gate = ApiGate("https://api.example/v1", Reach("https://api.example/v1"))
    gate.check_url("https://api.example/other")
    with pytest.raises(NotPermitted):
        gate.check_url(url)


def test_a_host_is_shown_on_one_line() -> None:
    """Whatever it holds, and however long it is."""
    assert shown_host("storage.example") == "storage.example"
    assert shown_host("a\n\x1b[31mb\u202e") == r"a\n\x1b[31mb\u202e"
    assert len(shown_host("a" * 5000)) < 110
