"""Requests to the API's origin: with the key, through the budget, tried again where that can help.

The only place that puts the key on the wire. Answers that mean something for one recording (404, 409, …)
are returned for the caller to read; what means the same for all requests (401, 429, 5xx) ends here.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from kallglotfs.errors import BadResponse, KeyRefused, ServiceFault
from kallglotfs.model import Secret
from kallglotfs.remote.retry import parse_date, parse_retry_after, with_retries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

    from kallglotfs.clock import Clock, Deadline
    from kallglotfs.remote.budget import Budget
    from kallglotfs.remote.keys import ApiKey
    from kallglotfs.remote.transport import Transport
    from kallglotfs.tally import Tally

log = logging.getLogger(__name__)

T = TypeVar("T")

#: The recording or session that a path is about.
_SUBJECT = re.compile(r"/(?:recordings|sessions)/([^/]+)")
UNAUTHORIZED = 401
TOO_MANY = 429
SERVER_ERROR = 500


class ApiSession:
    """GET requests that carry the key, to one origin only.

    Args:
        base_url: the API's base, such as `https://api.kallglot.com/v1`.
        transport: the connections.
        key: the key and its renewal.
        budget: the gate before each request.
        clock: what tells the time.
        tally: counts requests, and on whose account.
    """

    def __init__(
        self, base_url: str, transport: Transport, key: ApiKey, budget: Budget, clock: Clock, tally: Tally
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._transport = transport
        self._key = key
        self._budget = budget
        self._clock = clock
        self._tally = tally

    def url(self, path: str) -> Secret:
        """Return the URL of `path` below the base."""
        return Secret(self._base_url + path)

    def resolve(self, location: str, asked: Secret) -> Secret:
        """Return the absolute URL of a reference that came in an answer.

        Args:
            location: from a header or the body, relative or absolute.
            asked: the URL that was asked (RFC 9110, 10.2.2).

        Raises:
            BadResponse: it is no URL.
        """
        try:
            return Secret(urljoin(asked.reveal(), location))
        except ValueError:
            raise BadResponse("the API points to something that is no URL") from None

    def is_own(self, url: Secret) -> bool:
        """Tell whether a URL is of the API's own origin, the only one that gets the key."""
        return urlsplit(url.reveal())[:2] == urlsplit(self._base_url)[:2]

    def ask(
        self, url: Secret, deadline: Deadline, read: Callable[[requests.Response], T], *, retry: bool = True
    ) -> T:
        """Send a GET with the key and return what `read` makes of the answer.

        Args:
            url: from `url` or `resolve`.
            deadline: of the whole, waits for the rate limit excepted.
            read: takes the answer, its body unread; called again where the connection breaks meanwhile.
            retry: False to try once only.

        Raises:
            KallglotError: as `get`, and what `read` raises.
        """

        def attempt() -> T:
            with self._admitted(url, {}, deadline) as response:
                return read(response)

        return with_retries(attempt, self._clock, deadline) if retry else attempt()

    def get(self, url: Secret, deadline: Deadline, headers: Mapping[str, str]) -> requests.Response:
        """Send a GET with the key and return the answer, its body unread and for the caller to close.

        Args:
            url: from `url` or `resolve`.
            deadline: of the whole, waits for the rate limit excepted.
            headers: sent besides the key.

        Raises:
            KeyRefused: the key is refused, and no other is to be had.
            RateLimited: the limit asks for a longer wait than we allow.
            ServiceFault, Unreachable, TimedOut, BadResponse: as `Transport.get`.
        """
        return with_retries(lambda: self._admitted(url, dict(headers), deadline), self._clock, deadline)

    def _admitted(self, url: Secret, headers: dict[str, str], deadline: Deadline) -> requests.Response:
        if not self.is_own(url):
            raise BadResponse("the key is for the API's own origin only")
        renewed = False
        while True:
            # Before the queue, so that a refused key is told at once, and behind it: it may have changed.
            self._key.check()
            response, key = self._send(url, headers, deadline)
            path = urlsplit(url.reveal()).path
            log.debug("API GET %s: %d", path, response.status_code)
            self._tally.add(f"api_responses_{response.status_code // 100}xx")
            if response.status_code == UNAUTHORIZED:
                response.close()
                self._key.refused(key)
                if renewed:
                    raise KeyRefused("the API key is refused (401)")
                renewed = True
                continue
            self._key.accepted(key)
            if response.status_code == TOO_MANY:
                response.close()
            elif response.status_code >= SERVER_ERROR:
                response.close()
                theirs = parse_date(response.headers.get("Date")) or self._clock.wall()
                pause = parse_retry_after(response.headers.get("Retry-After"), theirs)
                raise ServiceFault(f"the API answers {response.status_code}", pause)
            else:
                self._clock.learn(parse_date(response.headers.get("Date")))
                return response

    def _send(
        self, url: Secret, headers: dict[str, str], deadline: Deadline
    ) -> tuple[requests.Response, Secret]:
        """Send one request in its turn; returns the answer and the key it was asked with."""
        given = self._budget.admit(deadline)
        try:
            key = self._key.current()
            headers["Authorization"] = f"Bearer {key.reveal()}"
            self._tally.add("api_requests")
            subject = _SUBJECT.search(urlsplit(url.reveal()).path)
            if subject is not None:
                self._tally.spend(subject[1])
            response = self._transport.get(url, headers, deadline)
        except BaseException:
            self._budget.lost(given)
            raise
        if response.status_code == TOO_MANY:
            self._budget.refused(given, response.headers)
        else:
            self._budget.answered(given, response.headers)
        return response, key
