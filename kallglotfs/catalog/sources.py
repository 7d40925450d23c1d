"""The sources that feed the catalog by themselves, run one after the other on a thread of their own.

A source does one small step at a time, at most a request or two, says how far it has come and when it wants
to go on. What it has reached is written down after every step, so that a restart goes on from there.

Threading: one daemon thread, which sleeps until the next source is due.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from kallglotfs.catalog.writing import written
from kallglotfs.errors import KallglotError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kallglotfs.catalog.source_store import SourceState, SourceStore
    from kallglotfs.clock import Clock

log = logging.getLogger(__name__)

#: Seconds before a source that failed is tried again, at first; doubled up to the most.
FIRST_PAUSE, LONGEST_PAUSE = 10.0, 600.0


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of a source brought.

    Attributes:
        position: where to go on.
        found: recordings or sessions that were new.
        pause: seconds until the next step; None for no more in this run of the mount.
        note: why there is no more, or what went wrong with a part of it; "" for nothing.
    """

    position: str
    found: int = 0
    pause: float | None = 0.0
    note: str = ""


class Source(Protocol):
    """Something that brings recordings into the catalog."""

    @property
    def name(self) -> str:
        """What it is called in the status."""

    def step(self, position: str) -> Step:
        """Go on from `position`.

        Raises:
            KallglotError: it did not work this time.
        """


class Sources:
    """Runs sources.

    Args:
        sources: which.
        store: where their positions are kept.
        clock: what tells the time.
    """

    def __init__(self, sources: Sequence[Source], store: SourceStore, clock: Clock) -> None:
        self._sources = tuple(sources)
        self._store = store
        self._clock = clock
        self._ended = threading.Event()
        self._woken = threading.Event()
        self._due = dict.fromkeys((source.name for source in sources), 0.0)
        self._pauses = dict.fromkeys((source.name for source in sources), FIRST_PAUSE)
        self._states = {source.name: store.state(source.name) for source in sources}
        self._thread = threading.Thread(target=self._run, name="sources", daemon=True)

    def start(self) -> None:
        """Begin, and go on until `stop`."""
        if self._sources:
            self._thread.start()

    def stop(self) -> None:
        """Run no further step."""
        self._ended.set()
        self._woken.set()

    def replace(self, name: str, source: Source | None) -> None:
        """Run another source under a name, or none any more; begins at once.

        A step of the old one that is under way is done to its end.
        """
        others = [each for each in self._sources if each.name != name]
        if source is not None:
            self._states[name] = self._store.state(name)
            self._pauses[name] = FIRST_PAUSE
            self._due[name] = 0.0
            others.append(source)
        # In one step: the thread runs over the old ones or the new ones.
        self._sources = tuple(others)
        self._woken.set()

    def states(self) -> dict[str, SourceState]:
        """Return how far each source has come."""
        return {each.name: self._states[each.name] for each in self._sources}

    def run_due(self) -> float:
        """Do a step of every source that is due.

        Returns:
            Seconds until the next is due; infinity for never.
        """
        sources = self._sources
        for source in sources:
            if self._due[source.name] <= self._clock.now() and not self._ended.is_set():
                pause = self._step(source)
                if source in self._sources:
                    self._due[source.name] = self._clock.now() + pause
        return min((self._due[each.name] for each in sources), default=float("inf")) - self._clock.now()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._woken.clear()
            wait = self.run_due()
            self._woken.wait(None if wait == float("inf") else max(0.0, wait))

    def _step(self, source: Source) -> float:
        """Do one step; return after how many seconds the next is due."""
        state = self._states[source.name]
        try:
            step = source.step(state.position)
        except KallglotError as error:
            return self._failed(source.name, state, str(error))
        except Exception as error:  # one source must not end the others
            log.exception("%s: unexpected failure", source.name, extra={"source": source.name})
            return self._failed(source.name, state, f"unexpected {type(error).__name__}")
        self._pauses[source.name] = FIRST_PAUSE
        changed = (step.position, step.note) != (state.position, state.last_error) or step.found
        now = _after(state, step, self._clock.wall())
        self._states[source.name] = now
        if changed:
            self._keep(source.name, now)
        if step.found:
            log.info("%s: %d new", source.name, step.found, extra={"source": source.name})
        if step.pause is None:
            log.info("%s: no more in this run: %s", source.name, step.note or "done")
            return float("inf")
        return step.pause

    def _failed(self, name: str, state: SourceState, reason: str) -> float:
        if state.last_error != reason:
            log.warning("%s: %s", name, reason, extra={"source": name})
        self._states[name] = replace(state, last_run=self._clock.wall(), last_error=reason)
        self._keep(name, self._states[name])
        pause = self._pauses[name]
        self._pauses[name] = min(pause * 2, LONGEST_PAUSE)
        return pause

    def _keep(self, name: str, state: SourceState) -> None:
        written(lambda: self._store.save(name, state))


def _after(state: SourceState, step: Step, moment: float) -> SourceState:
    return replace(
        state, position=step.position, last_run=moment, last_error=step.note, found=state.found + step.found
    )
