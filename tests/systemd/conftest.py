"""A container for all tests of systemd, and the demo service outside it, on the same network."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from nspawn import CannotBoot, tree
from systemd_box import Box, box

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kallglotfs.demo.server import DemoServer


@pytest.fixture(scope="session")
def made() -> Path:
    """The tree to boot; where there is none, nothing of systemd is tested, and the summary says so."""
    try:
        return tree()
    except CannotBoot as reason:
        if os.environ.get("KALLGLOTFS_TEST_SYSTEMD") == "required":
            raise
        pytest.skip(f"SYSTEMD IS NOT TESTED HERE: {reason}")


@pytest.fixture(scope="session")
def booted(made: Path, demo: DemoServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """One system for all tests."""
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(box(made, tmp_path_factory.mktemp("booted"), demo))
        except CannotBoot as reason:
            pytest.skip(f"SYSTEMD IS NOT TESTED HERE: {reason}")
        yield running


@pytest.fixture
def system(booted: Box, service: DemoServer) -> Box:
    """Give a test the system, with the service as it is at the start."""
    assert booted.service is service
    return booted
