"""Growth is told from noise."""

from __future__ import annotations

import random

import pytest

from soak.slope import fit


def series(per_second: float, noise: float, seconds: int = 900) -> list[tuple[float, float]]:
    chance = random.Random(1)
    return [(at, 1000 + per_second * at + chance.gauss(0, noise)) for at in range(0, seconds, 2)]


def test_a_straight_line_is_found_exactly() -> None:
    """Its slope, with nothing uncertain."""
    slope = fit(series(0.5, 0), 30)
    assert slope is not None
    assert slope.per_second == pytest.approx(0.5)
    assert slope.upper == pytest.approx(0.5)
    assert slope.bins == 30


def test_noise_alone_is_flat_within_its_confidence() -> None:
    """The upper end lies above zero, close by."""
    slope = fit(series(0, 10), 30)
    assert slope is not None
    assert abs(slope.per_second) < 0.01
    assert slope.per_second < slope.upper < 0.02


def test_growth_shows_through_noise() -> None:
    """What grows is above what does not."""
    slope = fit(series(0.1, 10), 30)
    assert slope is not None
    assert slope.upper > slope.per_second > 0.08


def test_too_little_says_nothing() -> None:
    """Two means make a line of anything."""
    assert fit(series(0.5, 0, seconds=60), 30) is None
    assert fit([], 30) is None
