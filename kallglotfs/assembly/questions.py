"""What a mount answers about its cache, over the control socket: `warm.…` and `cache.…`.

Who asks is `kallglotfs warm` or `kallglotfs cache`. Arguments and answers are what JSON takes. Every answer
comes within `timeout` and a few seconds, the rate limit included; whoever wants more goes on asking.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kallglotfs.catalog.session_documents import SESSION, TRANSCRIPT
from kallglotfs.errors import (
    ContentChanged,
    KallglotError,
    KeyRefused,
    NotFound,
    NotPermitted,
    NotReady,
    RateLimited,
    ServiceFault,
    TimedOut,
    Unreachable,
    UsageError,
)
from kallglotfs.model import FORMATS
from kallglotfs.patience import Patience
from kallglotfs.urgency import Bulk
from kallglotfs.vfs.naming import is_recording_id, is_session_id, parse_name
from kallglotfs.vfs.warming import HELD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kallglotfs.catalog.catalog import Catalog
    from kallglotfs.catalog.session_documents import SessionDocuments
    from kallglotfs.catalog.sessions import Sessions
    from kallglotfs.clock import Clock
    from kallglotfs.config.settings import Settings
    from kallglotfs.content.disk import DiskTier
    from kallglotfs.content.documents import Documents
    from kallglotfs.model import Recording, Rendition
    from kallglotfs.remote.budget import Budget
    from kallglotfs.tally import Tally
    from kallglotfs.vfs.forecast import Forecasts
    from kallglotfs.vfs.warming import Warming

#: A question's arguments, and its answer.
Json = dict[str, Any]
#: Recordings told of in one answer.
PAGE = 5000
#: What a failure is called, the first that fits.
KINDS: tuple[tuple[type[KallglotError], str], ...] = (
    (RateLimited, "held"),
    (NotFound, "gone"),
    (NotReady, "processing"),
    (KeyRefused, "key"),
    (NotPermitted, "refused"),
    (ContentChanged, "changed"),
    (TimedOut, "trouble"),
    (Unreachable, "trouble"),
    (ServiceFault, "trouble"),
    (KallglotError, "failed"),
)


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What there is where a mount keeps something on disk.

    Attributes:
        tier: the disk tier.
        forecasts: tell what it takes to have files there.
        warming: brings them there.
    """

    tier: DiskTier
    forecasts: Forecasts
    warming: Warming


class Questions:
    """Answers questions about the cache.

    Args:
        settings: of the mount.
        on_disk: None where there is no disk tier.
        catalog: what is known.
        sessions: the same, of sessions.
        documents: those of sessions.
        shelf: where they are kept.
        budget: of API requests.
        tally: what has been counted.
        clock: what tells the time.
    """

    def __init__(
        self,
        settings: Settings,
        on_disk: OnDisk | None,
        catalog: Catalog,
        sessions: Sessions,
        documents: SessionDocuments,
        shelf: Documents,
        budget: Budget,
        tally: Tally,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._on_disk = on_disk
        self._catalog = catalog
        self._sessions = sessions
        self._documents = documents
        self._shelf = shelf
        self._budget = budget
        self._tally = tally
        self._clock = clock

    def handlers(self) -> Mapping[str, Callable[[Json], Json]]:
        """Return what answers each question."""
        return {
            "warm.plan": self._plan,
            "warm.room": self._room,
            "warm.since": self._since,
            "warm.look": self._look,
            "warm.session": self._session,
            "warm.fetch": self._fetch,
            "cache.where": self._where,
            "cache.destroy": self._destroy,
            "cache.recount": self._recount,
        }

    def _plan(self, asked: Json) -> Json:
        """Tell what it takes to have `items`: recording ids, file names, session ids.

        With `use`, what is there counts as used.
        """
        forecasts = self._kept().forecasts
        audio_format = asked.get("format")
        if audio_format is not None and audio_format not in FORMATS:
            raise UsageError("`format` is none of ours")
        used = asked.get("use") is True
        files: list[Json] = []
        sessions: list[Json] = []
        for item in _texts(asked, "items"):
            if is_session_id(item):
                known = [each.id for each in self._sessions.known_recordings(item)]
                requests = self._sessions.due(item) + self._documents.due(item)
                sessions.append({"id": item, "requests": requests, "known": known})
                continue
            if is_recording_id(item):
                found = forecasts.forecast(item, audio_format, used=used)
            else:
                found = [forecasts.forecast_of(_named(item), used=used)]
            files += [dataclasses.asdict(each) | {"item": item} for each in found]
        return {"files": files, "sessions": sessions}

    def _room(self, asked: Json) -> Json:
        """Tell what room there is, and how long so many `requests` take."""
        room = self._kept().tier.room()
        return {
            **room._asdict(),
            **self._budget.state(),
            "seconds": self._budget.forecast(int(_number(asked, "requests"))),
            "api_requests": self._tally.counts().get("api_requests", 0),
            "streams": self._settings.streams,
            "timeout": self._settings.timeout,
        }

    def _since(self, asked: Json) -> Json:
        """Tell which known recordings were made from `since` to before `until`, epoch seconds."""
        since, until = float(_number(asked, "since")), float(_number(asked, "until"))
        ids: list[str] = []
        last = since
        for recording in self._catalog.made(since, until):
            if len(ids) >= PAGE and _made(recording) > last:
                return {"ids": ids, "next": _made(recording)}
            ids.append(recording.id)
            last = _made(recording)
        return {"ids": ids, "next": None}

    def _look(self, asked: Json) -> Json:
        """Find out what the recording `id` is."""
        warming, recording_id = self._kept().warming, _recording_id(asked)

        def work() -> Json:
            warming.look_up(recording_id)
            return {}

        return self._tried(work)

    def _session(self, asked: Json) -> Json:
        """List the session `id`, and keep its documents."""
        tier = self._kept().tier
        session_id = asked.get("id")
        if not isinstance(session_id, str) or not is_session_id(session_id):
            raise UsageError("`id` is no session's")
        return self._tried(lambda: self._listed(session_id, tier))

    def _listed(self, session_id: str, tier: DiskTier) -> Json:
        def patience() -> Patience:
            return Patience(self._clock, self._settings.timeout, lambda: False, Bulk, throttle_timeout=HELD)

        self._sessions.enter(session_id, patience())
        found = self._sessions.recordings(session_id, patience())
        kept = {}
        for kind in (TRANSCRIPT, SESSION):
            kept[kind] = "none"
            try:
                body = self._documents.document(session_id, kind, patience())
            except (NotFound, NotPermitted):
                continue
            complete = self._documents.is_complete(session_id, kind)
            if complete:
                # What is in memory may have been removed from the disk since.
                self._shelf.put(session_id, kind, body, lasting=True)
            kept[kind] = "kept" if complete else "open"
        tier.settle(session_id, HELD)
        return {"ids": [each.id for each in found], "documents": kept}

    def _fetch(self, asked: Json) -> Json:
        """Bring the next slice of the file `name`, from `offset` on."""
        warming = self._kept().warming
        name, offset = asked.get("name"), _number(asked, "offset")
        rendition = _named(name if isinstance(name, str) else "")
        return self._tried(lambda: dataclasses.asdict(warming.fetch(rendition, int(offset))))

    def _where(self, _asked: Json) -> Json:
        """Tell which directory the mount keeps blocks in."""
        return {"cache_dir": None if self._on_disk is None else str(self._settings.cache_dir)}

    def _destroy(self, asked: Json) -> Json:
        """Remove `folders` of blocks, named in hexadecimal; tell how many were not removed altogether."""
        try:
            folders = [bytes.fromhex(each) for each in _texts(asked, "folders")]
        except ValueError:
            raise UsageError("`folders` are no names") from None
        if self._on_disk is None:
            return {"left": 0}
        return {"left": sum(not self._on_disk.tier.destroy_folder(each) for each in folders)}

    def _recount(self, _asked: Json) -> Json:
        """Count anew what is in the directory: something was removed."""
        if self._on_disk is not None:
            self._on_disk.tier.recount()
        return {}

    def _tried(self, work: Callable[[], Json]) -> Json:
        """Return what work brings; what fails is an answer too, with its kind."""
        try:
            return work()
        except KallglotError as error:
            kind = next(name for kind, name in KINDS if isinstance(error, kind))
            return {"failed": kind, "reason": str(error), "resets_in": self._budget.state()["resets_in"]}

    def _kept(self) -> OnDisk:
        if self._on_disk is None:
            raise UsageError(
                "this mount keeps nothing on disk; mount it with disk_cache, for example -o disk_cache=10G"
            )
        return self._on_disk


def _made(recording: Recording) -> float:
    return 0.0 if recording.created_at is None else recording.created_at.timestamp()


def _texts(asked: Json, name: str) -> list[str]:
    value = asked.get(name)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise UsageError(f"`{name}` is no list of texts")
    return value


def _number(asked: Json, name: str) -> float:
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        raise UsageError(f"`{name}` is no number that can be used")
    return value


def _recording_id(asked: Json) -> str:
    value = asked.get("id")
    if not isinstance(value, str) or not is_recording_id(value):
        raise UsageError("`id` is no recording's")
    return value


def _named(name: str) -> Rendition:
    rendition = parse_name(name)
    if rendition is None:
        raise UsageError("`name` is no file's")
    return rendition
