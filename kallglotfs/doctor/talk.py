"""The network's checks one after the other: each only if those before it went well.

User: `examination`, on a thread that it may leave behind.

Threading: `outcome` may be asked for while `run` is at work, since findings are only added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallglotfs.doctor import network, service
from kallglotfs.doctor.contact import Contact
from kallglotfs.doctor.finding import Finding, Level, failure, skipped

if TYPE_CHECKING:
    from kallglotfs.clock import Clock
    from kallglotfs.config.credentials import Credentials
    from kallglotfs.config.settings import Settings
    from kallglotfs.model import Recording

#: The names of the checks, for what is not checked.
OF_NETWORK = ("name of the API", "connection to the API", "TLS")
OF_SERVICE = (service.KEY, service.LIMIT, service.GENERATION, service.CLOCK, service.STORAGE)


class Talk:
    """The network's checks, each only if those before it went well.

    Args:
        settings: of the profile.
        credentials: where the key is.
        clock: what tells the time.
        key: what was found of the key's place.
        known: a recording to try the storage with.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        clock: Clock,
        key: Finding,
        known: Recording | None,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._clock = clock
        self._key = key
        self._known = known
        self._found: list[Finding] = []
        self._because = "the network's checks took too long"
        self._contact: Contact | None = None

    @property
    def requests(self) -> int:
        """API requests spent so far."""
        return self._contact.requests if self._contact is not None else 0

    def run(self) -> None:
        """Check; ends at the first failure that the rest depends on."""
        try:
            because = self._network() or self._service()
        except Exception as error:  # noqa: BLE001 - what was found before is worth telling
            because = f"the check before failed itself ({type(error).__name__})"
        self._because = because

    def outcome(self, *, after: float | None) -> list[Finding]:
        """Return what was found.

        Args:
            after: seconds after which the rest is not waited for; None where it has ended.
        """
        found = list(self._found)
        because = self._because
        if after is not None:
            slow = f"no end within {after:g} s"
            found.append(failure("network", slow, f"see what is slow: curl -sv {self._settings.api_url}"))
        told = {finding.name for finding in found}
        proxied = "name of the proxy" in told
        names = (*(() if proxied else OF_NETWORK), *OF_SERVICE)
        return [*found, *(skipped(name, because) for name in names if name not in told)]

    def _add(self, finding: Finding) -> bool:
        """Note a finding; tell whether it is a failure."""
        self._found.append(finding)
        return finding.level is Level.FAILURE

    def _network(self) -> str:
        """Go all the way to the API; return why it cannot be asked, nothing if it can."""
        target, finding = network.proxy(self._settings.api_url)
        self._add(finding)
        if target is None:
            return "the environment's proxy or certificates cannot be used"
        addresses, finding = network.resolve(target)
        if self._add(finding):
            return f"{target.host} cannot be resolved"
        connection, finding = network.connect(target, addresses)
        if self._add(finding) or connection is None:
            return f"{target.host} cannot be reached"
        with connection:
            if not target.proxied and self._add(network.certificate(target, connection)):
                return f"{target.host} cannot be trusted"
        return ""

    def _service(self) -> str:
        """Ask the service; return why the rest was not checked."""
        if self._key.level is Level.FAILURE:
            return "there is no usable key"
        self._contact = contact = Contact(self._settings, self._credentials.read, self._clock)
        heard = contact.ask(self._known)
        if heard.answers:
            self._add(service.clock(heard, webhooks=self._settings.webhook_listen is not None))
        key = service.key(heard, self._settings.throttle_timeout)
        self._add(key)
        if key.level is not Level.OK:
            return "the API does not serve this key now"
        self._add(service.limit(heard))
        self._add(service.generation(heard))
        if self._known is None:
            return "no recording is known; name one: --recording ID"
        if heard.recording is None:
            return f"{self._known.id} is not there any more; name another one: --recording ID"
        self._add(service.storage(heard.recording, contact.fetch))
        return ""
