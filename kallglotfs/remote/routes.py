"""Which of the API's routes this installation has, learned from its answers, once per run.

A 404 may mean "no such recording" or "no such route". As long as a route has never answered for any
recording, both are possible; from the first success on, its 404 speaks of the recording alone.

Threading: single assignments of enum values; the worst a race costs is one request.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Route(enum.Enum):
    """What is known of a route."""

    UNPROVEN = "unproven"
    PRESENT = "present"
    ABSENT = "absent"


@dataclass(slots=True)
class Routes:
    """The routes whose absence we know how to live with."""

    metadata: Route = Route.UNPROVEN
    download: Route = Route.UNPROVEN
    #: Some recording said that it is streamed by the API itself (generation 2).
    streams: bool = False
    #: The routes below a session: `recordings`, `session`, `transcript`.
    sessions: dict[str, Route] = field(default_factory=dict)
