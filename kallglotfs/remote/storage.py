"""Range requests on a lease, every answer checked before its first byte is handed on.

Behind a lease stands either a signed storage URL (asked without any credential) or, in generation 2, the
API's own audio route (asked with the key, every request counted). Both give a `Body`.

Threading: stateless but for the pools; a `Body` belongs to the thread that opened it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kallglotfs.content.ranges import ContentRange, parse_content_range, range_header
from kallglotfs.errors import BadResponse, ContentChanged, NotFound, NotPermitted, ServiceFault
from kallglotfs.model import Validator
from kallglotfs.remote.body import Body
from kallglotfs.remote.redirects import follow
from kallglotfs.remote.retry import parse_date, parse_retry_after, with_retries

if TYPE_CHECKING:
    import requests

    from kallglotfs.clock import Clock, Deadline
    from kallglotfs.model import Lease, Rendition, Secret
    from kallglotfs.remote.api_session import ApiSession
    from kallglotfs.remote.leases import LeaseBroker
    from kallglotfs.remote.transport import Transport
    from kallglotfs.tally import Tally

log = logging.getLogger(__name__)

#: What a storage says to a URL it does not accept (any more); one renewal is tried.
REFUSALS = frozenset({400, 401, 403, 404, 410})
#: What a page says it is that a proxy or a portal sends in the place of a file. No storage calls audio so.
PAGES = frozenset({"text/html", "application/xhtml+xml", "application/xml", "text/xml", "application/json"})


class Storage:
    """Opens ranges of renditions.

    Args:
        broker: gives and renews leases.
        transport: connections without credentials.
        api: for leases whose requests are API requests.
        clock: what tells the time.
        tally: counts requests and bytes.
    """

    def __init__(
        self, broker: LeaseBroker, transport: Transport, api: ApiSession, clock: Clock, tally: Tally
    ) -> None:
        self._broker = broker
        self._transport = transport
        self._api = api
        self._clock = clock
        self._tally = tally

    def open(
        self, rendition: Rendition, start: int, stop: int, expected: Validator | None, deadline: Deadline
    ) -> Body:
        """Ask for the bytes from `start` to before `stop`.

        Args:
            rendition: whose bytes.
            start: first byte.
            stop: end of the range; may lie beyond the end of the file. On a metered lease it is not sent:
                there the whole rest is taken in one request.
            expected: the version the bytes must belong to, None to take what there is.
            deadline: of finding the bytes, renewals and retries included.

        Returns:
            A body that begins at `start`, or at 0 where the sender knows no ranges.

        Raises:
            ContentChanged: it is another version.
            NotFound: the storage has it no more, even for a fresh lease.
            NotPermitted: the storage refuses a fresh lease, or it or the lease leads to where we do not go.
            BadResponse, TimedOut, Unreachable, ServiceFault: as they say.
        """
        lease = self._broker.current(rendition, deadline)
        renewed = False
        while True:
            try:
                response = self._ask(lease, start, stop, expected, deadline)
            except NotPermitted:
                if not lease.metered:
                    self._broker.give_up(rendition, lease)
                raise
            if response.status_code not in REFUSALS:
                break
            status = response.status_code
            response.close()
            fresh = None if renewed else self._broker.renew(rendition, lease, deadline)
            if fresh is None:
                self._broker.give_up(rendition, lease)
                raise _refused(rendition, status)
            log.debug("%s: the storage answered %d, trying a fresh lease", rendition.recording_id, status)
            lease, renewed = fresh, True
        self._broker.accepted(rendition, lease)
        try:
            asked = None if lease.metered else stop
            return _checked(response, rendition, start, asked, expected, lease, self._tally)
        except BaseException:
            response.close()
            raise

    def is_metered(self, rendition: Rendition) -> bool:
        """Tell whether asking costs an API request, as far as is known; asks nobody."""
        return self._broker.is_metered(rendition)

    def _ask(
        self, lease: Lease, start: int, stop: int, expected: Validator | None, deadline: Deadline
    ) -> requests.Response:
        headers = {
            "Range": range_header(start, None if lease.metered else stop),
            "Accept-Encoding": "identity",
        }
        # A weak ETag never matches If-Match (RFC 9110, 13.1.1); it is compared when it comes back.
        if expected is not None and expected.etag and not expected.etag.startswith("W/"):
            headers["If-Match"] = expected.etag
        if lease.metered:
            return self._api.get(lease.url, deadline, headers)
        return with_retries(lambda: self._attempt(lease.url, headers, deadline), self._clock, deadline)

    def _attempt(self, url: Secret, headers: dict[str, str], deadline: Deadline) -> requests.Response:
        self._tally.add("storage_requests")
        response = follow(self._transport, url, headers, deadline)
        status = response.status_code
        if status >= 500 or status == 429:  # noqa: PLR2004 - server faults and throttling
            response.close()
            theirs = parse_date(response.headers.get("Date")) or self._clock.wall()
            pause = parse_retry_after(response.headers.get("Retry-After"), theirs)
            raise ServiceFault(f"the storage answers {status}", pause)
        return response


def _refused(rendition: Rendition, status: int) -> NotFound | NotPermitted:
    if status in (404, 410):
        return NotFound(f"{rendition.recording_id}: the storage answers {status} to a fresh URL")
    return NotPermitted(f"{rendition.recording_id}: the storage answers {status} to a fresh URL")


def _checked(
    response: requests.Response,
    rendition: Rendition,
    start: int,
    stop: int | None,
    expected: Validator | None,
    lease: Lease,
    tally: Tally,
) -> Body:
    """Return the body if status, range, version and encoding are as asked, else raise."""
    name = rendition.recording_id
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise BadResponse(f"{name}: the storage compresses a range, which we did not ask for")
    if response.headers.get("Transfer-Encoding", "chunked").strip().lower() not in (
        "",
        "chunked",
        "identity",
    ):
        # The library below unpacks chunks only where they are all there is, else passes on what it finds.
        raise BadResponse(f"{name}: the storage wraps a range in a way we do not know")
    match response.status_code:
        case 206:
            part = _part(response, name, start, stop)
        case 200:
            part = _whole(response, name, expected, lease)
        case 416:
            part = _unsatisfied(response, name, start, expected)
        case 412:
            raise ContentChanged(f"{name}: the storage has another version now")
        case status:
            raise BadResponse(f"{name}: the storage answers {status}")
    assert part.start is not None and part.stop is not None and part.total is not None  # noqa: PT018
    found = Validator(part.total, response.headers.get("ETag") or None)
    if expected is not None and not expected.accepts(found):
        raise ContentChanged(f"{name}: the storage has another version now")
    return Body(
        response,
        part.start,
        part.stop,
        # What is pinned stays the name of the version, even where one answer omits the ETag.
        expected or found,
        parse_date(response.headers.get("Last-Modified")),
        ranged=response.status_code == 206,  # noqa: PLR2004 - Partial Content
        metered=lease.metered,
        tally=tally,
    )


def _part(response: requests.Response, name: str, start: int, stop: int | None) -> ContentRange:
    part = parse_content_range(response.headers.get("Content-Range"))
    if part is None or part.start is None or part.stop is None or part.total is None:
        raise BadResponse(f"{name}: the storage sends a range without saying which")
    if part.start != start or (stop is not None and part.stop > stop):
        raise BadResponse(f"{name}: the storage sends another range than asked")
    length = _length(response)
    if length is not None and length != part.stop - part.start:
        raise BadResponse(f"{name}: the storage contradicts itself about the length of a range")
    return part


def _whole(response: requests.Response, name: str, expected: Validator | None, lease: Lease) -> ContentRange:
    """Return the range of an answer that is, or claims to be, the whole file."""
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() in PAGES:
        raise BadResponse(f"{name}: the storage sends a page in the place of the file")
    length = _length(response)
    size = lease.size if expected is None else expected.size
    if length is None:
        length = size
    if length is None:
        raise BadResponse(f"{name}: the size of the file is not told")
    # Nothing in a 200 proves that it is the file, so a size that does not fit is taken for a fault, unless
    # the answer names another version. In generation 2 it is the usual answer, and the metadata's size is
    # that of the original.
    etag = response.headers.get("ETag")
    other = expected is not None and None not in (etag, expected.etag) and etag != expected.etag
    if not lease.metered and not other and size not in (None, length):
        raise BadResponse(f"{name}: the storage ignores the range and sends {length} bytes instead of {size}")
    return ContentRange(0, length, length)


def _unsatisfied(
    response: requests.Response, name: str, start: int, expected: Validator | None
) -> ContentRange:
    part = parse_content_range(response.headers.get("Content-Range"))
    if part is not None and part.total == 0 and start == 0:
        return ContentRange(0, 0, 0)
    if expected is not None:
        raise ContentChanged(f"{name}: the file is shorter now")
    raise BadResponse(f"{name}: the storage has no byte {start}")


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None
