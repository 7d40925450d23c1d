"""Write every file that is made from the program, or tell which are out of date.

python -m generate            write them
python -m generate --check    exit code 1, and their names, if any differs
"""

from __future__ import annotations

import sys
from pathlib import Path

from generate import completions, man
from kallglotfs.config.reference import markdown

ROOT = Path(__file__).parent.parent


def files() -> dict[Path, str]:
    """Return the content of every generated file."""
    return {ROOT / "docs" / "settings.md": markdown(), **man.pages(), **completions.scripts()}


def main(arguments: list[str]) -> int:
    """Write or check, as the arguments say."""
    old = {path: text for path, text in files().items() if not path.exists() or path.read_text() != text}
    for path, text in old.items():
        name = path.relative_to(ROOT)
        if "--check" in arguments:
            print(f"{name} is out of date: python -m generate", file=sys.stderr)
        else:
            path.write_text(text)
            print(f"written: {name}")
    return 1 if old and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
