"""What to do about what went wrong: one line for each kind of failure, and for states that ask for something.

Used by `status.py` and the commands. Kinds are the names of the classes in `errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kallglotfs import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

#: By the name of a class in `errors`; what is missing here has its parent's.
ADVICE = {
    "KallglotError": "a fault of kallglotfs itself; its log has the traceback, which belongs in a bug report",
    "NotFound": "the service or the storage has it no more; nothing to do",
    "NoSuchFormat": "open it in another format, such as its own",
    "NotPermitted": "see the account and the key's rights at Kallglot: plan (402), scope (403), storage",
    "KeyRefused": "put a valid key where the old one was; it is read again by itself, no remount needed",
    "ProgramDenied": "take the program off `deny_programs` if it is to read here",
    "ContentChanged": "the recording was replaced while it was read; open it again",
    "TimedOut": "look at the network and the service; a larger `timeout` waits longer",
    "RateLimited": "read less at once, or wait longer with `throttle_timeout`; `disk_cache` saves requests",
    "NothingToSpare": "nothing to do: read-ahead gave way to who waits",
    "Unreachable": "check the network, DNS and any proxy; the mount goes on by itself when they are back",
    "NotReady": "still being processed at Kallglot; try again in a few minutes",
    "BadResponse": "the service answered nonsense; if it lasts, tell Kallglot the request id from the log",
    "ServiceFault": "the service has a fault; it was tried again already, and will be at the next read",
    "BadHandle": "a fault of kallglotfs itself; its log belongs in a bug report",
    "ShuttingDown": "the mount is ending",
    "CredentialError": "see that the key's file is there, owned by the mount's user or root, and of mode 600",
    "SystemFault": "this machine lacks something that the mount needs; the message says what",
}


def advice(kind: str) -> str:
    """Return what to do about a kind of failure.

    Args:
        kind: the name of its class in `errors`.
    """
    found = getattr(errors, kind, errors.KallglotError)
    lines = (ADVICE[each.__name__] for each in found.__mro__ if each.__name__ in ADVICE)
    return next(lines, ADVICE["KallglotError"])


def notices(state: Mapping[str, Any]) -> list[str]:
    """Return what the state of a mount asks for, one line each.

    Args:
        state: from `Status.status`.
    """
    found = []
    budget = state.get("budget", {})
    if budget.get("remaining") == 0 and budget.get("waiting"):
        left = budget.get("resets_in") or 0
        found.append(f"the API budget is used up and {budget['waiting']} wait; it is reset in {left:.0f} s")
    if state.get("disk", {}).get("failing"):
        found.append("the disk tier cannot write; see the space and the rights of `cache_dir`, and the log")
    refused = sum(state.get("webhooks", {}).get("refused", {}).values())
    if refused and not state["webhooks"].get("stored"):
        found.append("all webhooks were refused so far; compare the signing secret with the one at Kallglot")
    return found
