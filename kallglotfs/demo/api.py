"""The API: every route of the contract, in both generations.

Threading: runs on the API server's event loop alone.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, TypeVar

from starlette.requests import Request

from kallglotfs.demo.control import Control
from kallglotfs.demo.faults import carry_out, json_answer, refusal
from kallglotfs.demo.objects import list_item, recording_object, transcript_object
from kallglotfs.demo.ranges import serve_bytes
from kallglotfs.demo.requestlog import Record
from kallglotfs.demo.wire import Answer, Conduct, deliver
from kallglotfs.model import FORMATS, RATES, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Receive, Scope, Send

    from kallglotfs.demo.knobs import Fault
    from kallglotfs.demo.library import DemoRecording, DemoSession
    from kallglotfs.demo.service import Service

Row = TypeVar("Row", "DemoRecording", "DemoSession")

BASE = "/v1"
MIME_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "ogg": "audio/ogg"}
#: Recordings and sessions on a page.
DEFAULT_LIMIT, MOST = 20, 100
#: Seconds a 409 asks to wait for a recording that is being processed.
PROCESSING_PAUSE = 5


class ApiApp:
    """The API as an ASGI application.

    Args:
        service: the state.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._control = Control(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if request.url.path.startswith("/_demo/"):
            await deliver(
                await self._control.answer(request),
                Conduct(),
                Record("control", "", ""),
                scope,
                receive,
                send,
            )
            return
        knobs = self._service.knobs
        record = _record(request)
        self._service.log.begin(record)
        try:
            fault = knobs.take_fault("api", f"{request.url.path}?{request.url.query}", record.range)
            record.fault = fault.action if fault else None
            answer = await self._answer(request, fault)
            conduct = Conduct(delay=knobs.api_latency)
            if answer.status == 302 and knobs.declare_302_length:  # noqa: PLR2004 - Found
                conduct.ending, conduct.seconds = "hold", knobs.trap_hold
            if fault is not None:
                answer, conduct = carry_out(fault, answer, conduct)
            await deliver(answer, conduct, record, scope, receive, send)
        finally:
            self._service.log.end(record)

    async def _answer(self, request: Request, fault: Fault | None) -> Answer:
        service, knobs = self._service, self._service.knobs
        request_id = f"req_{secrets.token_hex(8)}"
        standing = {"X-Request-ID": request_id}
        if knobs.send_date:
            standing["Date"] = service.date()
        refused = self._refusal(request, standing, request_id)
        answer = refused or await self._route(request, request_id, fault)
        answer.headers.update(standing)
        return answer

    def _refusal(self, request: Request, standing: dict[str, str], request_id: str) -> Answer | None:
        """Return what is wrong with a request before its route is looked at; count it against the limit."""
        service, knobs = self._service, self._service.knobs
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        given = key if scheme.lower() == "bearer" else request.headers.get("x-api-key")
        code = service.refuses_key(given)
        if code is not None:
            return refusal(401, code, request_id=request_id)
        service.credits_used += 1
        standing["X-API-Credits-Used"] = str(service.credits_used)
        standing["X-API-Credits-Remaining"] = str(service.credits_total - service.credits_used)
        if knobs.rate_limit is not None:
            allowance = service.rate_limit.take(given or "", knobs.rate_limit, knobs.rate_window)
            standing["X-RateLimit-Limit"] = str(allowance.limit)
            standing["X-RateLimit-Remaining"] = str(allowance.remaining)
            standing["X-RateLimit-Reset"] = str(int(service.now() + allowance.resets_in + 0.999))
            if not allowance.granted:
                pause = (
                    str(int(allowance.resets_in + 0.999)) if knobs.retry_after is None else knobs.retry_after
                )
                return refusal(429, request_id=request_id, retry_after=pause)
        if knobs.account_status is not None:
            return refusal(knobs.account_status, knobs.account_code, request_id=request_id)
        return None

    async def _route(  # noqa: PLR0911 - one return per route
        self, request: Request, request_id: str, fault: Fault | None
    ) -> Answer:
        knobs = self._service.knobs
        parts = request.url.path.removeprefix(BASE).strip("/").split("/")
        if request.method not in ("GET", "HEAD") or not request.url.path.startswith(f"{BASE}/"):
            return refusal(405 if request.method not in ("GET", "HEAD") else 404, request_id=request_id)
        second = knobs.generation == 2  # noqa: PLR2004
        sessions = knobs.sessions and not knobs.download_only
        listing = sessions and (not second if knobs.sessions_list is None else knobs.sessions_list)
        missing = refusal(knobs.missing_route_status, request_id=request_id)
        match parts:
            case ["recordings", recording_id]:
                there = knobs.metadata and not knobs.download_only
                return await self._recording(recording_id, request_id) if there else missing
            case ["recordings", recording_id, "download"]:
                there = knobs.download and (not second or knobs.download_only)
                same = fault is not None and fault.action == "same_url"
                return (
                    await self._download(recording_id, request, request_id, same=same) if there else missing
                )
            case ["recordings", recording_id, "audio"]:
                there = second and not knobs.download_only
                return await self._audio(recording_id, request, request_id) if there else missing
            case ["sessions"]:
                return self._sessions(request, request_id) if listing else missing
            case ["sessions", session_id, *rest] if sessions:
                return await self._session(session_id, rest, request, request_id)
        return missing

    async def _recording(self, recording_id: str, request_id: str) -> Answer:
        row = self._service.alive(recording_id)
        if "recordings:read" not in self._service.knobs.scopes:
            return refusal(403, request_id=request_id)
        if row is None:
            return refusal(404, "recording_not_found", request_id=request_id)
        return json_answer(await recording_object(self._service, row, base=BASE))

    async def _download(self, recording_id: str, request: Request, request_id: str, *, same: bool) -> Answer:
        knobs = self._service.knobs
        name = request.query_params.get("format", "mp3")
        rate = request.query_params.get("sample_rate", "0")
        if name not in FORMATS or not rate.isdecimal() or int(rate) not in (0, *RATES):
            return refusal(422, request_id=request_id)
        row = self._service.alive(recording_id)
        if row is None or row.status is Status.FAILED:
            return refusal(404, "recording_not_found", request_id=request_id)
        if row.status is Status.PROCESSING:
            return self._processing(request_id)
        version = self._service.version(row, name, int(rate))
        declared = None
        if knobs.convert_at == "download" or version.native:
            declared = len(await self._service.content(version)) if knobs.declare_302_length else None
        headers = {
            "Location": self._service.issue_url(version, same=same),
            "Content-Type": MIME_TYPES[name],
            "Content-Disposition": f'attachment; filename="recording-{row.session_id}.{name}"',
        }
        return Answer(302, headers, declared=declared)

    async def _audio(self, recording_id: str, request: Request, request_id: str) -> Answer:
        row = self._service.alive(recording_id)
        if row is None or row.status is Status.FAILED:
            return refusal(404, "recording_not_found", request_id=request_id)
        if row.status is Status.PROCESSING:
            return self._processing(request_id)
        content = await self._service.content(self._service.version(row))
        headers = {
            "Content-Type": MIME_TYPES["mp3"],
            "Content-Disposition": f'attachment; filename="recording-{row.session_id}.mp3"',
        }
        asked = request.headers.get("range") if self._service.knobs.audio_ranges else None
        return serve_bytes(content, headers, asked)

    def _processing(self, request_id: str) -> Answer:
        pause = self._service.knobs.retry_after
        return refusal(
            409,
            "recording_processing",
            request_id=request_id,
            retry_after=str(PROCESSING_PAUSE) if pause is None else pause,
        )

    def _sessions(self, request: Request, request_id: str) -> Answer:
        rows = self._service.library.sessions()
        page = _page(rows, request)
        if page is None:
            return refusal(422, request_id=request_id)
        found, more = page
        items = [row.facts for row in found]
        return json_answer({"object": "list", "data": items, "has_more": more, "url": f"{BASE}/sessions"})

    async def _session(self, session_id: str, rest: list[str], request: Request, request_id: str) -> Answer:
        session = self._service.library.find_session(session_id)
        if "sessions:read" not in self._service.knobs.scopes:
            return refusal(403, request_id=request_id)
        if session is None:
            return refusal(404, "session_not_found", request_id=request_id)
        match rest:
            case []:
                return json_answer(session.facts)
            case ["transcript"]:
                return (
                    json_answer(transcript_object(session))
                    if session.turns
                    else refusal(404, request_id=request_id)
                )
            case ["recordings"]:
                return await self._session_recordings(session, request, request_id)
        return refusal(404, request_id=request_id)

    async def _session_recordings(self, session: DemoSession, request: Request, request_id: str) -> Answer:
        channel = request.query_params.get("channel")
        rows = [
            row
            for row in self._service.library.recordings(session.id)
            if channel in (None, row.channel) and self._service.alive(row.id) is not None
        ]
        page = _page(rows, request)
        if page is None:
            return refusal(422, request_id=request_id)
        found, more = page
        items = [await list_item(self._service, row, base=BASE) for row in found]
        return json_answer({"object": "list", "data": items, "has_more": more, "session_id": session.id})


def _page(rows: Sequence[Row], request: Request) -> tuple[Sequence[Row], bool] | None:
    """Return a page of a list and whether more follow, None when the cursor or the limit is wrong."""
    limit = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not limit.isdecimal() or not 1 <= int(limit) <= MOST:
        return None
    ids = [row.id for row in rows]
    after, before = (request.query_params.get(name) for name in ("starting_after", "ending_before"))
    if any(cursor is not None and cursor not in ids for cursor in (after, before)):
        return None
    if before is not None:
        end = ids.index(before)
        start = max(0, end - int(limit))
        return rows[start:end], start > 0
    start = ids.index(after) + 1 if after is not None else 0
    return rows[start : start + int(limit)], start + int(limit) < len(rows)


def _record(request: Request) -> Record:
    parts = request.url.path.removeprefix(BASE).strip("/").split("/")
    recording = parts[1] if len(parts) > 1 and parts[0] == "recordings" else None
    rate = request.query_params.get("sample_rate", "0")
    return Record(
        "api",
        request.method,
        request.url.path,
        query=request.url.query,
        range=request.headers.get("range"),
        recording=recording,
        format=request.query_params.get("format"),
        rate=int(rate) if rate.isdecimal() else 0,
    )
