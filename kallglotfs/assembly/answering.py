"""What answers programs that ask about the mount: its control socket, and the listener for metrics."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from kallglotfs.control import places
from kallglotfs.control.server import ControlServer
from kallglotfs.exporter import Exporter

if TYPE_CHECKING:
    from kallglotfs.assembly.questions import Questions
    from kallglotfs.config.settings import Settings
    from kallglotfs.status import Identity, Status


class Answering:
    """The control socket of a mount, and its listener for metrics where `metrics` names one.

    Args:
        settings: of the mount.
        identity: which mount it is.
        status: the state of everything.
        questions: what the cache is asked.

    Raises:
        ConfigError: an address cannot be listened on.
    """

    def __init__(self, settings: Settings, identity: Identity, status: Status, questions: Questions) -> None:
        self._exporter = None if settings.metrics is None else Exporter(settings.metrics, status.metrics)
        self._control = ControlServer(
            places.home() / places.name_of(identity.mount_point),
            {
                "hello": lambda _: dataclasses.asdict(identity),
                "status": lambda asked: status.confidential(brief=bool(asked.get("brief"))),
                **questions.handlers(),
            },
        )

    def start(self) -> None:
        """Begin to listen, until `stop`."""
        if self._exporter is not None:
            self._exporter.start()
        self._control.start()

    def stop(self) -> None:
        """End all connections and free the addresses."""
        self._control.stop()
        if self._exporter is not None:
            self._exporter.stop()
