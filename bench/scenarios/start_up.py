"""What a mount costs before anybody reads."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.figures import Result, Series, Verdict
from bench.processes import cpu_seconds, memory

if TYPE_CHECKING:
    from bench.stage import Stage


def run(stage: Stage) -> Result:
    """Mount, wait, look at the processor time."""
    idle_seconds = stage.options.size(10, 2)
    result = Result(
        "start-up",
        "Start-up and idle cost",
        "From calling `mount.kallglotfs` to its return, when the mount answers; the API answers after 30 ms. "
        f"Then {idle_seconds} s without a request.",
        checked=["no API and no storage request by an idle mount"],
    )
    variant = stage.storage.variant(shaped=False)
    started = Series("mount.kallglotfs", "ms")
    first_list = Series("first ls after it", "ms", note="empty folder")
    resident = Series("memory of an idle mount", "MiB")
    idle = Series(f"processor time in {idle_seconds} idle s", "ms", note="counted in ticks of 10 ms")
    for number in range(stage.options.rounds * stage.options.size(5, 1)):
        with stage.mount(variant) as mounted:
            started.values.append(mounted.seconds * 1000)
            began = time.perf_counter()
            list(mounted.recordings.iterdir())
            first_list.values.append((time.perf_counter() - began) * 1000)
            if number % 5 == 0:
                time.sleep(0.5)
                with stage.traffic() as traffic:
                    before = cpu_seconds(mounted.pid)
                    time.sleep(idle_seconds)
                    idle.values.append((cpu_seconds(mounted.pid) - before) * 1000)
                resident.values.append(memory(mounted.pid) / (1 << 20))
                stage.expect(
                    traffic.api_total == 0 and traffic.storage.requests == 0, f"an idle mount made {traffic}"
                )
    result.series = [started, first_list, resident, idle]
    result.verdicts = [
        Verdict("start, seconds", started.median / 1000, 1.0, at_least=False),
        Verdict("idle processor time, % of one core", idle.median / idle_seconds / 10, 0.1, at_least=False),
    ]
    return result
