"""Following a storage's redirects, a few and never to a worse place.

Every hop, the first URL included, passes the storage's gate in `Transport.get`: scheme, user name and the
address that is connected to. Here is what needs two hops to be told: how many there are, and that none goes
from https to plain http. No hop gets a credential or hears where we come from: the same headers go to each.

Users: `storage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from kallglotfs.errors import NotPermitted
from kallglotfs.model import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from kallglotfs.clock import Deadline
    from kallglotfs.remote.transport import Transport

#: Hops a storage may send us on.
MOST_HOPS = 3
#: The answers that send us on. 300 offers a choice, 304 was not asked for: neither is one.
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def follow(
    transport: Transport, url: Secret, headers: Mapping[str, str], deadline: Deadline
) -> requests.Response:
    """Send a GET and return the first answer that sends us nowhere else, its body unread.

    Args:
        transport: connections without credentials.
        url: a signed URL.
        headers: sent to every hop.
        deadline: of the whole.

    Raises:
        NotPermitted: too many hops, or one to where we do not go; no connection was made there.
        Unreachable, TimedOut, ServiceFault, BadResponse: as `Transport.get`.
    """
    for _ in range(MOST_HOPS + 1):
        response = transport.get(url, headers, deadline)
        location = response.headers.get("Location")
        if response.status_code not in _REDIRECTS or not location:
            return response
        # Its body is not waited for, so the connection cannot be kept.
        response.close()
        url = next_hop(url, location)
    raise NotPermitted(f"the storage redirects more than {MOST_HOPS} times")


def next_hop(url: Secret, location: str) -> Secret:
    """Return where a redirect leads.

    Args:
        url: what was asked.
        location: the header, relative or absolute (RFC 9110, 10.2.2).

    Raises:
        NotPermitted: from https to plain http, or to no URL.
    """
    try:
        target = urljoin(url.reveal(), location)
        downgrade = urlsplit(target).scheme == "http" and urlsplit(url.reveal()).scheme == "https"
    except ValueError:
        raise NotPermitted("the storage redirects to what is no URL") from None
    if downgrade:
        raise NotPermitted("the storage redirects from https to plain http")
    return Secret(target)
