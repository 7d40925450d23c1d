"""Carrying out a fault: what it makes of a good answer and of the way it is sent."""

from __future__ import annotations

import dataclasses
import gzip
import json
from typing import TYPE_CHECKING

from kallglotfs.demo.wire import Answer, Conduct

if TYPE_CHECKING:
    from kallglotfs.demo.knobs import Fault

_CODES = {
    400: "bad_request",
    401: "invalid_api_key",
    402: "insufficient_api_credits",
    403: "insufficient_permissions",
    404: "not_found",
    409: "conflict",
    422: "invalid_parameter",
    429: "rate_limit_exceeded",
}
_TYPES = {401: "authentication_error", 402: "billing_error", 403: "permission_error", 429: "rate_limit_error"}


def refusal(status: int, code: str = "", *, request_id: str = "", retry_after: str | None = None) -> Answer:
    """Return the API's error envelope.

    Args:
        status: the HTTP status.
        code: "" for what is usual with the status.
        request_id: repeated in the body.
        retry_after: value of `Retry-After`.
    """
    code = code or _CODES.get(status, "internal_error")
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")  # noqa: PLR2004 - HTTP
    inside: dict[str, object] = {"type": kind, "code": code, "message": code.replace("_", " ")}
    if request_id:
        inside["request_id"] = request_id
    if retry_after and retry_after.isdecimal():
        inside["retry_after"] = int(retry_after)
    answer = json_answer({"error": inside}, status)
    if retry_after:
        answer.headers["Retry-After"] = retry_after
    return answer


def json_answer(content: object, status: int = 200) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(content).encode())


def storage_refusal(status: int, message: str = "AccessDenied") -> Answer:
    """Return the storage's way of saying no."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{message}</Code></Error>'
    return Answer(status, {"Content-Type": "application/xml"}, body.encode())


def carry_out(fault: Fault, answer: Answer, conduct: Conduct) -> tuple[Answer, Conduct]:  # noqa: C901, PLR0911, PLR0912 - one arm per fault
    """Return the answer and the way of sending it that a fault makes of good ones.

    `ignore_range` and `same_url` are carried out where the answer is made.
    """
    headers = answer.headers | fault.headers
    answer = dataclasses.replace(answer, headers=headers)
    match fault.action:
        case "status":
            status = fault.status or 500
            plain = refusal(status, fault.code) if fault.kind == "api" else storage_refusal(status)
            body = fault.body.encode() or plain.body
            return Answer(status, plain.headers | fault.headers, body), conduct
        case "reset" | "close":
            ending = fault.action
            return answer, dataclasses.replace(conduct, cut=fault.after_bytes, ending=ending)
        case "truncate_chunked":
            return answer, dataclasses.replace(conduct, cut=fault.after_bytes, framing="chunked")
        case "truncate_undeclared":
            return answer, dataclasses.replace(conduct, cut=fault.after_bytes, framing="close")
        case "too_long":
            longer = bytes(answer.body) + b"#" * max(1, fault.after_bytes)
            return dataclasses.replace(answer, body=longer, declared=len(answer.body)), conduct
        case "too_long_undeclared":
            longer = bytes(answer.body) + b"#" * max(1, fault.after_bytes)
            return dataclasses.replace(answer, body=longer), dataclasses.replace(conduct, framing="close")
        case "stall_headers":
            return answer, dataclasses.replace(conduct, delay=fault.seconds)
        case "stall_body":
            return answer, dataclasses.replace(conduct, stall_after=fault.after_bytes, seconds=fault.seconds)
        case "slow":
            return answer, dataclasses.replace(conduct, bandwidth=fault.bytes_per_second)
        case (
            "wrong_content_range"
            | "missing_content_range"
            | "star_content_range"
            | "unknown_total"
            | "multipart"
        ):
            return dataclasses.replace(answer, headers=_other_range(fault.action, headers)), conduct
        case "gzip":
            packed = gzip.compress(bytes(answer.body))
            return Answer(answer.status, headers | {"Content-Encoding": "gzip"}, packed), conduct
        case "other_etag":
            return dataclasses.replace(answer, headers=headers | {"ETag": '"another"'}), conduct
        case "other_size":
            return _other_size(answer), conduct
        case "redirect":
            return Answer(fault.status or 302, {"Location": fault.location}), conduct
        case "corrupt_json":
            return dataclasses.replace(answer, body=fault.body.encode() or b'{"id": '), conduct
        case "html_body":
            page = fault.body.encode() or b"<html><body>Sign in to the network</body></html>"
            return Answer(fault.status or 200, {"Content-Type": "text/html"}, page), conduct
    return answer, conduct


def _other_range(action: str, headers: dict[str, str]) -> dict[str, str]:
    changed = dict(headers)
    there = changed.pop("Content-Range", "bytes 0-0/1")
    span, _, total = there.removeprefix("bytes ").partition("/")
    first, _, last = span.partition("-")
    match action:
        case "wrong_content_range":
            changed["Content-Range"] = f"bytes {int(first) + 1}-{int(last) + 1}/{total}"
        case "star_content_range":
            changed["Content-Range"] = f"bytes */{total}"
        case "unknown_total":
            changed["Content-Range"] = f"bytes {span}/*"
        case "multipart":
            changed["Content-Type"] = "multipart/byteranges; boundary=x"
    return changed


def _other_size(answer: Answer) -> Answer:
    headers = dict(answer.headers)
    if "Content-Range" in headers:
        span, _, total = headers["Content-Range"].rpartition("/")
        headers["Content-Range"] = f"{span}/{int(total) + 1}"
        return dataclasses.replace(answer, headers=headers)
    return dataclasses.replace(answer, body=bytes(answer.body) + b"#")
