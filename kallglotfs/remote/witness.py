"""A transport to the API that notes what it hears: for finding out what is wrong, not for reading.

User: `doctor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kallglotfs.errors import BadResponse, ServiceFault, Unreachable
from kallglotfs.remote.retry import parse_date, parse_retry_after
from kallglotfs.remote.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from kallglotfs.clock import Clock, Deadline
    from kallglotfs.model import Secret
    from kallglotfs.remote.gates import ApiGate


@dataclass(frozen=True, slots=True)
class Answer:
    """What of an answer tells something of the set-up.

    Attributes:
        status: HTTP's.
        kind: its media type.
        ahead: seconds the service's clock is ahead of this machine's, None where it did not say.
        limit: requests per window, as the service says; empty where it does not.
        left: requests left in it.
        pause: seconds to wait, where it asks for that.
    """

    status: int
    kind: str
    ahead: float | None
    limit: str
    left: str
    pause: float | None


class Witness(Transport):
    """A transport that notes the answers, and tries nothing again: a second try would tell no more.

    Args:
        user_agent: as the transport's.
        gate: as the transport's.
        clock: tells the time here.
        most: requests that are made at most, whatever happens.
    """

    def __init__(self, user_agent: str, gate: ApiGate, clock: Clock, most: int) -> None:
        super().__init__(user_agent, gate, proxy_credentials=True)
        self._most = most
        self._clock = clock
        #: Requests that may have cost something, answered or not.
        self.asked = 0
        self.answers: list[Answer] = []

    def get(self, url: Secret, headers: Mapping[str, str], deadline: Deadline) -> requests.Response:
        """Send one GET.

        Raises:
            BadResponse: it failed in any way that would be tried again, or enough was asked.
        """
        if self.answers and self.answers[-1].status >= 500:  # noqa: PLR2004 - server errors
            raise BadResponse(f"the API answers {self.answers[-1].status}")
        if self.asked >= self._most:
            raise BadResponse(f"no more than {self._most} API requests are spent here")
        self.asked += 1
        try:
            response = super().get(url, headers, deadline)
        except Unreachable as error:
            self.asked -= 1
            raise BadResponse(str(error)) from None
        except ServiceFault as error:
            raise BadResponse(str(error)) from None
        self.answers.append(_noted(response.status_code, response.headers, self._clock.wall()))
        return response


def _noted(status: int, headers: Mapping[str, str], wall: float) -> Answer:
    date = parse_date(headers.get("Date"))
    # A Date counts whole seconds: on average it is half of one behind.
    ahead = None if date is None else date + 0.5 - wall
    return Answer(
        status,
        headers.get("Content-Type", "").partition(";")[0].strip().lower(),
        ahead,
        headers.get("X-RateLimit-Limit", ""),
        headers.get("X-RateLimit-Remaining", ""),
        parse_retry_after(headers.get("Retry-After"), wall if date is None else date),
    )
