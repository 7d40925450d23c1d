"""What belongs where: every file and link of an installation. Pure but for reading what is shipped."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kallglotfs.install.shipped import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMAND, HELPER = "kallglotfs", "mount.kallglotfs"
#: Where mount(8) has looked for helpers, before and after /sbin became a link.
HELPERS = (f"/sbin/{HELPER}", f"/usr/sbin/{HELPER}")
#: What the shipped units call the program, whatever its real place.
UNIT_PROGRAMS = "/usr/bin/"
#: Ends the name of the unit that a user's own systemd runs.
USER_UNIT = "-user@.service"
#: Prefixes below which systemd looks for units (systemd.unit(5)).
UNIT_PREFIXES = ("/usr", "/usr/local")


@dataclass(frozen=True, slots=True)
class Item:
    """One file or link.

    Attributes:
        path: where it belongs, as the running system names it.
        content: of a file; empty for a link.
        target: of a link; empty for a file.
        unit: whether systemd has to be told.
    """

    path: str
    content: bytes = b""
    target: str = ""
    unit: bool = False


@dataclass(frozen=True, slots=True)
class Places:
    """The directories that an installation uses."""

    record: str
    man: str
    bash: str
    zsh: str
    fish: str
    examples: str
    user_units: str
    #: None where the installation is one user's own.
    system_units: str | None = None
    #: None likewise: mount(8) looks in the system's directory alone.
    helper: str | None = None

    def may_hold(self, path: str) -> bool:
        """Return whether this version or another can have installed a file or link at a path."""
        if self.helper is not None and path in HELPERS:
            return True
        return _plain(path) and any(_below(path, each) for each in self._directories())

    def may_need(self, path: str) -> bool:
        """Return whether an installation can have made a directory."""
        places = [*self._directories(), str(Path(self.record).parent)]
        if self.helper is not None:
            places += [str(Path(each).parent) for each in HELPERS]
        return _plain(path) and any(
            path == each or _below(path, each) or _below(each, path) for each in places
        )

    def _directories(self) -> list[str]:
        units = [self.system_units] if self.system_units is not None else []
        return [self.man, self.bash, self.zsh, self.fish, self.examples, self.user_units, *units]


def _plain(path: str) -> bool:
    return path.startswith("/") and os.path.normpath(path) == path


def _below(path: str, directory: str) -> bool:
    return path.startswith(directory.rstrip("/") + "/")


def system_places(prefix: str, sbin: str = "/sbin") -> Places:
    """Return the places for everybody on a machine.

    Args:
        prefix: `/usr/local`, or `/usr` for a package.
        sbin: where mount(8) looks for helpers.
    """
    share = f"{prefix}/share"
    package = prefix == "/usr"
    return Places(
        record=f"{share}/kallglotfs/installed.json",
        man=f"{share}/man",
        bash=f"{share}/bash-completion/completions",
        zsh=f"{share}/zsh/{'vendor-completions' if package else 'site-functions'}",
        # Where XDG_DATA_DIRS is not set, as on a server, fish looks nowhere below /usr/local.
        fish=f"{share}/fish/vendor_completions.d" if package else "/etc/fish/completions",
        examples=f"{share}/doc/kallglotfs/examples",
        user_units=f"{prefix}/lib/systemd/user",
        system_units=f"{prefix}/lib/systemd/system",
        helper=f"{sbin}/{HELPER}",
    )


def user_places(home: str, environ: Mapping[str, str]) -> Places:
    """Return the places for one user (XDG base directories)."""
    share = environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
    configuration = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return Places(
        record=f"{share}/kallglotfs/installed.json",
        man=f"{share}/man",
        bash=f"{share}/bash-completion/completions",
        zsh=f"{share}/zsh/site-functions",
        fish=f"{share}/fish/vendor_completions.d",
        examples=f"{share}/doc/kallglotfs/examples",
        user_units=f"{configuration}/systemd/user",
    )


@dataclass(slots=True)
class Plan:
    """Every item of an installation, and where it is written down.

    Args:
        places: the directories.
        programs: the real paths of our two programs, by name.
    """

    places: Places
    programs: Mapping[str, str]
    items: list[Item] = field(init=False)

    def __post_init__(self) -> None:
        self.items = [*self._link(), *self._systemd(), *self._pages(), *self._completions()]

    def _link(self) -> list[Item]:
        if self.places.helper is None:
            return []
        return [Item(self.places.helper, target=self.programs[HELPER])]

    def _systemd(self) -> list[Item]:
        """Services are units; everything else is an example that names somebody's own paths."""
        items = []
        for file in shipped("systemd"):
            content = self._with_real_programs(file.read_bytes())
            if not file.name.endswith(".service"):
                items.append(Item(f"{self.places.examples}/{file.name}", content))
            elif file.name.endswith(USER_UNIT):
                items.append(Item(f"{self.places.user_units}/{file.name}", content, unit=True))
            elif self.places.system_units is not None:
                items.append(Item(f"{self.places.system_units}/{file.name}", content, unit=True))
        return items

    def _with_real_programs(self, content: bytes) -> bytes:
        for name in (HELPER, COMMAND):
            # systemd.unit(5), systemd.service(5): a percent sign is doubled, a blank is escaped.
            real = self.programs[name].replace("%", "%%").replace(" ", "\\x20")
            content = content.replace(f"{UNIT_PROGRAMS}{name}".encode(), os.fsencode(real))
        return content

    def _pages(self) -> list[Item]:
        return [
            Item(f"{self.places.man}/man{file.suffix[1:]}/{file.name}", file.read_bytes())
            for file in shipped("man", ".1", ".8")
        ]

    def _completions(self) -> list[Item]:
        items = []
        for file in shipped("completions", ".bash", ".fish", "_kallglotfs"):
            content = file.read_bytes()
            if file.suffix == ".bash":
                # bash-completion loads the file that is named after the command.
                items += [Item(f"{self.places.bash}/{name}", content) for name in (COMMAND, HELPER)]
            elif file.suffix == ".fish":
                items += [Item(f"{self.places.fish}/{name}.fish", content) for name in (COMMAND, HELPER)]
            else:
                items.append(Item(f"{self.places.zsh}/{file.name}", content))
        return items


def helper_directory(root: Path) -> str:
    """Return where mount(8) looks for helpers: `/sbin`, which may be a link on the system.

    Args:
        root: of the system, or of a tree that is being staged: where that has no `/sbin` yet, this system
            tells whether there is to be one beside `/usr/sbin`.
    """
    if (root / "sbin").exists():
        return "/sbin"
    return "/usr/sbin" if Path("/sbin").is_symlink() else "/sbin"
