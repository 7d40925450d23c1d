"""Imports point one way: cli, mount, operations, vfs, catalog and content, ground floor."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import kallglotfs

ROOT = Path(kallglotfs.__file__).parent
GROUND = {
    "errors",
    "model",
    "clock",
    "urgency",
    "backoff",
    "patience",
    "single_flight",
    "refusals",
    "repeats",
    "call_time",
    "tally",
    "",
}
#: What each part may import besides itself and the ground floor.
ALLOWED = {
    "vfs": {"catalog", "content"},
    "catalog": set(),
    "content": set(),
    "remote": {"content.ranges"},
    "config": set(),
    "webhooks": {"catalog", "remote.schema", "config"},
    "operations": {"vfs", "content", "openers"},
    "openers": set(),
    "advice": set(),
    "metrics": set(),
    "exporter": {"config", "webhooks"},
    "caller": set(),
    "callers": {"caller"},
    "logs": set(),
    "programs": set(),
    "status": {"advice", "metrics"},
    "mountpoint": set(),
    "unmounting": {"mountpoint"},
    "claim": set(),
    "control": {"mountpoint"},
    "hardening": set(),
    "request_limit": set(),
    "background": set(),
    "libfuse": {"adapter", "caller", "negotiation"},
    "adapter": set(),
    "negotiation": set(),
    "assembly": {
        "catalog",
        "config",
        "content",
        "control",
        "exporter",
        "openers",
        "remote",
        "status",
        "vfs",
        "webhooks",
    },
    "mount": {
        "assembly",
        "callers",
        "libfuse",
        "negotiation",
        "mountpoint",
        "background",
        "request_limit",
        "unmounting",
        "operations",
        "programs",
        "config",
    },
    "demo": set(),
    "cli": {
        "assembly",
        "mount",
        "libfuse",
        "mountpoint",
        "unmounting",
        "claim",
        "hardening",
        "background",
        "logs",
        "config",
        "catalog",
        "vfs",
        "demo",
        "webhooks",
        "control",
        "advice",
    },
    "__main__": {"cli"},
}
FILES = sorted(path for path in ROOT.rglob("*.py"))


def part_of(module: str) -> str:
    """Return the layer of `kallglotfs.x.y`."""
    return module.removeprefix("kallglotfs").lstrip(".").split(".")[0]


def imports_of(path: Path) -> list[str]:
    """Return the modules of ours that a file imports, at any depth."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found += [
                f"{node.module}.{alias.name}" if node.module == "kallglotfs" else node.module
                for alias in node.names
            ]
    return [name for name in found if name.split(".")[0] == "kallglotfs"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_from_below(path: Path) -> None:
    """No file imports from a layer above its own or beside it."""
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if part in GROUND or part == "__init__":
        allowed = GROUND
    else:
        allowed = GROUND | {part} | ALLOWED[part]
    for module in imports_of(path):
        inside = module.removeprefix("kallglotfs").lstrip(".")
        fits = part_of(module) in allowed or any(inside.startswith(name) for name in allowed if "." in name)
        assert fits or inside == "__version__", f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_imported_inside_a_function(path: Path) -> None:
    """No function-level import hides a circle."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [each for each in ast.walk(node) if isinstance(each, ast.Import | ast.ImportFrom)]
            assert not inner, f"{path.name}:{node.lineno} imports inside {node.name}"


def test_only_libfuse_touches_the_binding_and_only_mount_touches_libfuse() -> None:
    """The binding has one user, and errno has one table."""
    for path in FILES:
        text = path.read_text()
        name = str(path.relative_to(ROOT))
        assert ("mfusepy" in text) == (name == "libfuse.py"), name
        if name.startswith(("vfs/", "catalog/", "content/", "remote/")):
            assert "import errno" not in text, name
        if not name.startswith(("remote/", "demo/")):
            assert "import requests" not in text, name
        if not name.startswith(("cli/", "demo/")):
            assert "print(" not in text, name
