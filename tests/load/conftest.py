"""How long Hypothesis tries: `brief` in CI, `--hypothesis-profile=long` until it is stopped with Ctrl-C."""

from __future__ import annotations

from hypothesis import Phase, settings

# A failure is not made smaller in CI: each try mounts again, which takes minutes. The long profile does.
settings.register_profile(
    "brief",
    max_examples=40,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.register_profile("long", max_examples=100_000, stateful_step_count=60, database=None)
