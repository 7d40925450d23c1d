"""The control routes under `/_demo/`: what a test or a person turns while the service runs.

They need no key: the service is for localhost.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from kallglotfs.demo import webhooks
from kallglotfs.demo.faults import json_answer
from kallglotfs.demo.library import iso
from kallglotfs.demo.wire import Answer
from kallglotfs.model import Status

if TYPE_CHECKING:
    from starlette.requests import Request

    from kallglotfs.demo.service import Service


class Control:
    """Answers control requests.

    Args:
        service: the state.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def answer(self, request: Request) -> Answer:
        """Return the answer to one control request; 400 for one that makes no sense."""
        try:
            return await self._answer(request)
        except (ValueError, KeyError, TypeError) as error:
            return json_answer({"error": str(error)}, 400)

    async def _answer(self, request: Request) -> Answer:  # noqa: C901, PLR0911, PLR0912 - one arm per route
        service = self._service
        parts = request.url.path.removeprefix("/_demo/").strip("/").split("/")
        match request.method, parts:
            case "GET", ["requests"]:
                return json_answer(service.log.as_json())
            case "DELETE", ["requests"]:
                service.log.clear()
            case "GET", ["knobs"]:
                return json_answer(service.knobs.as_json())
            case "PATCH", ["knobs"]:
                service.knobs.change(await _json(request))
            case "POST", ["revoke-urls"]:
                service.signer.revoke()
            case "GET", ["recordings"]:
                rows = service.library.recordings()
                return json_answer([_shown(asdict(row) | {"source": row.source.version}) for row in rows])
            case "POST", ["recordings"]:
                wanted = await _json(request)
                for name in ("created_at", "expires_at"):
                    if wanted.get(name):
                        wanted[name] = datetime.fromisoformat(wanted[name])
                service.add_noise(wanted.pop("id"), **wanted)
            case "DELETE", ["recordings", recording_id]:
                service.library.remove(recording_id)
            case "PATCH", ["recordings", recording_id]:
                service.library.change(recording_id, status=Status((await _json(request))["status"]))
            case "GET", ["audio", recording_id]:
                return await self._audio(recording_id, request)
            case "POST", ["webhook"]:
                wanted = await _json(request)
                status = await anyio.to_thread.run_sync(lambda: webhooks.send(**wanted))
                return json_answer({"status": status})
            case _:
                return json_answer({"error": "no such control"}, 404)
        return json_answer({"ok": True})

    async def _audio(self, recording_id: str, request: Request) -> Answer:
        row = self._service.library.find(recording_id)
        if row is None:
            return json_answer({"error": "no such recording"}, 404)
        query = request.query_params
        version = self._service.version(row, query.get("format"), int(query.get("sample_rate", "0")))
        return Answer(200, {"Content-Type": "application/octet-stream"}, await self._service.content(version))


async def _json(request: Request) -> dict[str, Any]:
    found = json.loads(await request.body())
    if not isinstance(found, dict):
        raise TypeError("a JSON object is wanted")
    return found


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in row.items()}
