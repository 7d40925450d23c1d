"""The storage: files behind signed URLs, on an origin of its own.

Threading: runs on the storage server's event loop alone.
"""

from __future__ import annotations

import re
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING

from starlette.requests import Request

from kallglotfs.demo.api import MIME_TYPES
from kallglotfs.demo.faults import carry_out, storage_refusal
from kallglotfs.demo.ranges import serve_bytes
from kallglotfs.demo.requestlog import Record
from kallglotfs.demo.signing import Refused
from kallglotfs.demo.wire import Answer, Conduct, deliver

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from kallglotfs.demo.knobs import Fault
    from kallglotfs.demo.renditions import Version
    from kallglotfs.demo.service import Service

_PATH = re.compile(r"/recordings/(rec_[A-Za-z0-9]+)(?:-(\d+))?\.([a-z0-9]+)")
#: What must never reach a storage.
CREDENTIALS = ("authorization", "x-api-key", "cookie", "proxy-authorization")


class StorageApp:
    """The storage as an ASGI application.

    Args:
        service: the state.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        knobs = self._service.knobs
        record = _record(request)
        self._service.log.begin(record)
        try:
            fault = knobs.take_fault("storage", record.path, record.range)
            record.fault = fault.action if fault else None
            answer = await self._answer(request, record, fault)
            if knobs.send_date:
                answer.headers["Date"] = self._service.date()
            conduct = Conduct(delay=knobs.storage_latency, bandwidth=knobs.storage_bandwidth)
            if fault is not None:
                answer, conduct = carry_out(fault, answer, conduct)
            await deliver(answer, conduct, record, scope, receive, send)
        finally:
            self._service.log.end(record)

    async def _answer(self, request: Request, record: Record, fault: Fault | None) -> Answer:
        if record.leaked_credentials:
            return storage_refusal(400, "CredentialsNotAllowed")
        if request.method != "GET" and (self._service.knobs.signed_for_get_only or request.method != "HEAD"):
            return storage_refusal(403, "SignatureDoesNotMatch")
        try:
            query = request.query_params
            self._service.signer.check(request.url.path, query.get("signature", ""), query.get("expires"))
        except Refused:
            return storage_refusal(403)
        row = self._service.library.find(record.recording or "")
        if row is None:
            return storage_refusal(404, "NoSuchKey")
        version = self._service.version(row, record.format, record.rate)
        content = await self._service.content(version)
        ignore = fault is not None and fault.action == "ignore_range"
        return self._serve(request, version, content, ranges=self._service.knobs.accept_ranges and not ignore)

    def _serve(self, request: Request, version: Version, content: bytes, *, ranges: bool) -> Answer:
        knobs = self._service.knobs
        headers = {"Content-Type": MIME_TYPES.get(version.format, f"audio/{version.format}")}
        etag = {"strong": f'"{version.tag}"', "weak": f'W/"{version.tag}"', "none": ""}[knobs.etag]
        if etag:
            headers["ETag"] = etag
        if knobs.last_modified:
            headers["Last-Modified"] = format_datetime(version.recording.modified, usegmt=True)
        wanted = request.headers.get("if-match")
        # RFC 9110, 13.1.1: strong comparison, a weak tag never matches.
        if wanted not in (None, "*") and (not etag.startswith('"') or etag not in _tags(wanted or "")):
            return Answer(412, headers)
        asked = request.headers.get("range") if ranges and _if_range(request, etag, version) else None
        return serve_bytes(content, headers, asked)


def _tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",")]


def _if_range(request: Request, etag: str, version: Version) -> bool:
    """Tell whether the range is wanted of the version that is here (RFC 9110, 13.1.5)."""
    header = request.headers.get("if-range")
    if header is None:
        return True
    if header.startswith(('"', "W/")):
        return header == etag and etag.startswith('"')
    try:
        return parsedate_to_datetime(header) == version.recording.modified
    except ValueError:
        return False


def _record(request: Request) -> Record:
    match = _PATH.fullmatch(request.url.path)
    return Record(
        "storage",
        request.method,
        request.url.path,
        range=request.headers.get("range"),
        recording=match[1] if match else None,
        format=match[3] if match else None,
        rate=int(match[2] or 0) if match else 0,
        leaked_credentials=any(name in request.headers for name in CREDENTIALS),
    )
