"""Names that a user writes: which are known, which are near, and which look like a secret."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from kallglotfs.config.quoting import shown_path
from kallglotfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The profile that is mounted when none is named.
DEFAULT_PROFILE = "default"
#: Its other spelling: what an fstab line without a profile tends to call its source.
DEFAULT_ALIAS = "kallglot"

_SECRET = re.compile(
    r"^(api|api_?key|x_api_key|kallglot_api_key|key|.*token|.*secret|.*passw(or)?d|.*credentials?|authorization|bearer|sk_(live|test)_.*)$"
)


def did_you_mean(name: str, known: Iterable[str], quote: str = "'") -> str:
    """Return the ` (did you mean …?)` of an error, or nothing where no known name is near.

    Args:
        name: what the user wrote; case and hyphens do not matter.
        known: the valid names.
        quote: stands around the suggestion.
    """
    folded = {_folded(valid): valid for valid in known}
    close = difflib.get_close_matches(_folded(name), folded, n=1)
    return f" (did you mean {quote}{shown_path(folded[close[0]])}{quote}?)" if close else ""


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def refuse_secret(name: str) -> None:
    """Refuse a name under which somebody tries to pass the API key.

    Args:
        name: a setting's name as the user wrote it; it may be a key itself, so it is not repeated.

    Raises:
        ConfigError: the name looks like that of a secret.
    """
    if _SECRET.match(_folded(name)):
        raise ConfigError("the API key is never an option; use api_key_file or KALLGLOT_API_KEY")
