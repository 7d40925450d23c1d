"""What can be turned on the demo service while it runs: its habits and its faults.

Threading: values are read anew for every request and may be changed at any time by any thread; taking a
fault, which counts, happens under a lock.
"""

from __future__ import annotations

import dataclasses
import random
import re
import threading
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import TypeAdapter

Kind = Literal["api", "storage"]

#: Everything a `Fault` can do; `faults.py` says how each is carried out.
ACTIONS = frozenset(
    {
        "status",
        "reset",
        "close",
        "truncate_chunked",
        "truncate_undeclared",
        "too_long",
        "too_long_undeclared",
        "stall_headers",
        "stall_body",
        "slow",
        "wrong_content_range",
        "missing_content_range",
        "star_content_range",
        "unknown_total",
        "multipart",
        "ignore_range",
        "gzip",
        "other_etag",
        "other_size",
        "redirect",
        "same_url",
        "corrupt_json",
        "html_body",
    }
)


@dataclass
class Fault:
    """One misbehaviour for the next requests that match it.

    Args:
        kind: which server misbehaves.
        action: what happens, one of `ACTIONS`.
        times: how many requests it hits; -1 for every one.
        match: a regular expression searched in `path?query` (storage: in the path, without the signature).
        match_range: a regular expression searched in the Range header ("" when there is none).
        skip: how many matching requests are spared first.
        share: the part of the matching requests that it hits, by chance; 1 for all.
        after_bytes: body bytes sent before a cut or a stall; extra bytes of `too_long`.
        status: the status of `status`, `redirect` and `html_body`; None for what is usual.
        code: the error code in the envelope of `status`; "" for what is usual with the status.
        seconds: the length of a stall.
        bytes_per_second: the speed of `slow`.
        location: where `redirect` leads.
        body: the literal body of `status`, `html_body` and `corrupt_json`; "" for a fitting one.
        headers: headers to set on the answer, whatever the action.
        fired: how often it has hit.
    """

    kind: Kind
    action: str
    times: int = 1
    match: str = ""
    match_range: str = ""
    skip: int = 0
    share: float = 1.0
    after_bytes: int = 0
    status: int | None = None
    code: str = ""
    seconds: float = 3600.0
    bytes_per_second: float = 1000.0
    location: str = ""
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    fired: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("api", "storage"):
            raise ValueError(f"no such kind of fault: {self.kind!r}")
        if self.action not in ACTIONS:
            raise ValueError(f"no such fault: {self.action!r}; there are {', '.join(sorted(ACTIONS))}")
        re.compile(self.match)
        re.compile(self.match_range)

    def hits(self, kind: str, target: str, range_header: str | None) -> bool:
        """Tell whether this fault is meant for such a request and has shots left."""
        return (
            self.kind == kind
            and (self.times < 0 or self.fired < self.times)
            and re.search(self.match, target) is not None
            and re.search(self.match_range, range_header or "") is not None
        )


@dataclass
class Knobs:
    """How the service behaves. The defaults are a faithful Kallglot of generation 1 without a rate limit.

    Args:
        generation: 1 hands out signed storage URLs, 2 streams from the API.
        download_only: every route but `/download` is missing.
        metadata: `GET /recordings/{id}` exists.
        download: `/download` exists (in generation 2 it never does, unless `download_only`).
        sessions: sessions, their recordings and their transcripts exist.
        sessions_list: `GET /sessions` exists; None for generation 1 only.
        missing_route_status: what a missing route answers: 404, 403 or 405.
        scopes: what the key may do.
        account_status: 402 or 403 on every API route; None when the account is in order.
        account_code: the code that goes with it; "" for what is usual.
        url_lifetime: seconds a signed URL lives.
        send_expires: signed URLs carry `expires=`.
        clock_skew: seconds the service's clock is ahead (Date, `expires=`, rate limit reset, retention).
        send_date: answers carry Date.
        rate_limit: API requests per window and key; None for no limit and no such headers.
        rate_window: seconds of the window.
        retry_after: the literal Retry-After of a 429 or 409; None for the truth, "" for none.
        api_latency: seconds before the API answers.
        storage_latency: seconds before the storage answers.
        storage_bandwidth: bytes per second of one connection; None for all there is.
        declare_302_length: the 302 declares the file's size as its own length and sends no body.
        trap_hold: seconds such a connection stays open when the client does not close it.
        convert_at: which answer waits for a conversion: "download" (the 302) or "storage" (its first byte,
            and the 302 then does not know the length of a file that is not converted yet).
        conversion_delay: seconds the first conversion of a rendition takes longer.
        signed_for_get_only: storage refuses HEAD.
        etag: which ETag storage sends.
        last_modified: storage sends Last-Modified.
        accept_ranges: storage honours Range.
        audio_ranges: `/audio` honours Range.
        list_has_size: recordings in lists say their size.
        list_has_download_url: recordings in lists carry a download URL.
        metadata_has_size: a recording says its size.
        metadata_has_download_url: a recording carries a download URL.
        faults: what goes wrong, first match first.
    """

    generation: Literal[1, 2] = 1
    download_only: bool = False
    metadata: bool = True
    download: bool = True
    sessions: bool = True
    sessions_list: bool | None = None
    missing_route_status: Literal[403, 404, 405] = 404
    scopes: list[str] = field(default_factory=lambda: ["recordings:read", "sessions:read"])
    account_status: Literal[402, 403] | None = None
    account_code: str = ""
    url_lifetime: float = 3600.0
    send_expires: bool = True
    clock_skew: float = 0.0
    send_date: bool = True
    rate_limit: int | None = None
    rate_window: float = 60.0
    retry_after: str | None = None
    api_latency: float = 0.0
    storage_latency: float = 0.0
    storage_bandwidth: float | None = None
    declare_302_length: bool = True
    trap_hold: float = 120.0
    convert_at: Literal["download", "storage"] = "download"
    conversion_delay: float = 0.0
    signed_for_get_only: bool = True
    etag: Literal["strong", "weak", "none"] = "strong"
    last_modified: bool = True
    accept_ranges: bool = True
    audio_ranges: bool = False
    list_has_size: bool = True
    list_has_download_url: bool = False
    metadata_has_size: bool = True
    metadata_has_download_url: bool = True
    faults: list[Fault] = field(default_factory=list)

    _taking: ClassVar[threading.Lock] = threading.Lock()

    def take_fault(self, kind: Kind, target: str, range_header: str | None = None) -> Fault | None:
        """Return the fault that hits this request, counted as fired, or None.

        Args:
            kind: which server asks.
            target: path and query, without a signature.
            range_header: the request's Range.
        """
        with self._taking:
            for fault in self.faults:
                if not fault.hits(kind, target, range_header):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.share < 1 and random.random() >= fault.share:  # noqa: S311 - chance, no secret
                    continue
                fault.fired += 1
                return fault
        return None

    def as_json(self) -> dict[str, Any]:
        """Return all values, as JSON takes them."""
        return dataclasses.asdict(self)

    def change(self, changes: dict[str, Any]) -> None:
        """Set the named values at once, or none of them.

        Args:
            changes: name to value, as in JSON; `faults` replaces the whole list.

        Raises:
            ValueError: an unknown name or a value that does not fit (pydantic's error is one).
        """
        known = {each.name for each in dataclasses.fields(self)}
        unknown = sorted(changes.keys() - known)
        if unknown:
            raise ValueError(f"no such knob: {', '.join(unknown)}")
        checked = _KNOBS.validate_python({**self.as_json(), **changes})
        for name in changes:
            setattr(self, name, getattr(checked, name))


_KNOBS = TypeAdapter(Knobs)
