"""What can go wrong, in the words of the domain.

No errno and no HTTP here: `remote` translates answers into these, `operations` translates these into
errno. Messages are shown to users and logged, so they never hold a key, a signature or a full URL.

    KallglotError
    ├── UsageError           the caller gave something that cannot work (option, config, mount point)
    │   ├── ConfigError      a setting, profile or option is wrong
    │   └── CredentialError  no usable API key
    ├── SystemFault          this machine lacks something (no /dev/fuse, no libfuse)
    ├── MountError           the mount cannot be made here (mount point, refused key)
    ├── NotFound             no such recording, deleted, retention over, wrong name
    │   └── NoSuchFormat     not to be had in this format or at this rate
    ├── NotPermitted         key refused, scope, account, storage refuses a fresh URL
    │   ├── KeyRefused       the API says 401
    │   └── ProgramDenied    an indexer, or whatever else `deny_programs` names
    ├── ContentChanged       other size or ETag than pinned at open
    ├── TimedOut             our time ran out
    │   └── RateLimited      the rate limit lasts longer than we may wait
    │       └── NothingToSpare   nobody waits for it, and the budget is for who does
    ├── Unreachable          no route, no host, nobody listening
    ├── NotReady             the recording is still being processed
    ├── Interrupted          the caller is gone or wants to stop
    ├── BadResponse          the service answered something that cannot be used
    │   └── ServiceFault     5xx, or the connection broke: another try may help
    ├── ControlError         a running mount cannot be asked
    │   ├── NoSuchMount      there is none, or none that may be asked
    │   ├── DaemonGone       the mount is there and its daemon is not
    │   ├── DaemonSilent     its daemon does not answer in time
    │   └── AskRefused       its daemon's answer is that it cannot
    ├── NotADirectory, IsADirectory, NotALink, NoSuchAttribute, ReadOnly, BadHandle
    └── ShuttingDown         the mount is ending
"""


class KallglotError(Exception):
    """Base of everything this package raises on purpose."""


class UsageError(KallglotError):
    """The caller gave something that cannot work."""


class ConfigError(UsageError):
    """A setting, a profile or a mount option is wrong."""


class CredentialError(UsageError):
    """No usable API key was found."""


class SystemFault(KallglotError):
    """This machine lacks something the mount needs."""


class MountError(KallglotError):
    """The mount cannot be made at this place or with this key."""


class NotFound(KallglotError):
    """There is no such recording (any more), or the name cannot be one."""


class NoSuchFormat(NotFound):
    """The recording may exist, but the service does not give it in this format or at this rate."""


class NotPermitted(KallglotError):
    """The service refuses: key, scope, account, or a fresh signed URL."""


class KeyRefused(NotPermitted):
    """The API refuses the key itself (401)."""


class ProgramDenied(NotPermitted):
    """The calling program is kept out by `deny_programs`."""


class ContentChanged(KallglotError):
    """The content is no longer the version that was pinned at open."""


class TimedOut(KallglotError):
    """The time allowed for the call ran out."""


class RateLimited(TimedOut):
    """The service asks for a longer pause than `throttle_timeout` allows."""


class NothingToSpare(RateLimited):
    """Nobody waits for the work yet, and the budget is needed for those who wait."""


class Unreachable(KallglotError):
    """The host cannot be reached: DNS, routing, or nobody listening."""


class NotReady(KallglotError):
    """The recording is still being processed."""


class Interrupted(KallglotError):
    """The caller is gone or asked to stop."""


class BadResponse(KallglotError):
    """The service answered something that cannot be used."""


class ControlError(KallglotError):
    """A running mount cannot be asked."""


class NoSuchMount(ControlError):
    """There is no such mount, or none that this user may ask."""


class DaemonGone(ControlError):
    """The mount is there and its daemon is not."""


class DaemonSilent(ControlError):
    """The daemon does not answer in time."""


class AskRefused(ControlError):
    """The daemon's answer is that it cannot."""


class NotADirectory(KallglotError):
    """A path component that must be a directory is a file."""


class IsADirectory(KallglotError):
    """A directory was used as a file."""


class NotALink(KallglotError):
    """Something else was read as a link."""


class NoSuchAttribute(KallglotError):
    """The file has no extended attribute of that name."""


class ReadOnly(KallglotError):
    """Something tried to change the mount."""


class BadHandle(KallglotError):
    """The file handle is not open."""


class ShuttingDown(KallglotError):
    """The mount is ending and serves nothing more."""


class ServiceFault(BadResponse):
    """The service failed (5xx) or the connection broke; another try may help.

    Args:
        message: what happened.
        pause: seconds the service asks to wait before the next try, where it said so.
    """

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause
