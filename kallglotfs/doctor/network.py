"""The way to the API, as far as it costs no request: proxy, name, connection, certificate."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography import x509

from kallglotfs.assembly.remote import USER_AGENT
from kallglotfs.doctor.finding import OWN_AUTHORITY, Finding, failed, failure, ok, quoted
from kallglotfs.errors import ConfigError
from kallglotfs.remote.gates import ApiGate
from kallglotfs.remote.reach import Reach
from kallglotfs.remote.transport import Transport
from kallglotfs.remote.trust import VARIABLES, Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds for the name, for connecting, and for TLS.
RESOLVING, CONNECTING, AGREEING = 4.0, 4.0, 4.0
#: OpenSSL's reasons (x509_vfy.h): expired and not yet valid, not signed by anybody known, for another name.
_EXPIRED, _EARLY = 10, 9
_UNKNOWN = {18: "vouches for itself", 19: "comes from an authority that is not known here"} | dict.fromkeys(
    (2, 20, 21), "comes from an authority that is not known here"
)
_NAMES = (62, 64)


@dataclass(frozen=True, slots=True)
class Target:
    """Who is connected to: the API, or the proxy before it."""

    host: str
    port: int
    secure: bool
    proxied: bool


def proxy(api_url: str) -> tuple[Target | None, Finding]:
    """Find out whether a proxy stands before the API, and whether the environment can work at all.

    Returns:
        Who is connected to, None where nobody can be; and what was found.
    """
    name = "proxy"
    try:
        transport = Transport(USER_AGENT, ApiGate(api_url, Reach(api_url)), proxy_credentials=True)
    except ConfigError as error:
        variable = str(error).partition(":")[0]
        if variable in VARIABLES:
            return None, failed(
                "certificates", error, f"unset {variable}, or name a file of certificates in it"
            )
        return None, failed(name, error, "unset ALL_PROXY all_proxy, or name an http proxy")
    found = transport.proxy_for(api_url)
    transport.close()
    if found is None:
        return _target(api_url, proxied=False), ok(name, "none")
    target = _target(found if "://" in found else f"http://{found}", proxied=True)
    return target, ok(name, f"{target.host}:{target.port}, by the environment")


def resolve(target: Target) -> tuple[Sequence[Any], Finding]:
    """Look the name up, as the system does.

    Returns:
        The addresses, none where it has none; and what was found.
    """
    name = "name of the proxy" if target.proxied else "name of the API"
    answers: list[Sequence[Any]] = []
    errors: list[Exception] = []

    def look() -> None:
        try:
            answers.append(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            errors.append(error)

    # The resolver has no time limit of ours.
    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(RESOLVING)
    if answers:
        shown = ", ".join(dict.fromkeys(str(each[4][0]) for each in answers[0]))
        return answers[0], ok(name, f"{target.host}: {shown}")
    setting = "the proxy's variable" if target.proxied else "api_url"
    if not errors:
        found = f"{target.host}: the resolver does not answer within {RESOLVING:g} s"
        return (), failure(name, found, "check the resolver: cat /etc/resolv.conf; resolvectl status")
    if getattr(errors[0], "errno", None) == socket.EAI_AGAIN:
        found = f"{target.host} cannot be resolved: no name server answers"
        return (), failure(name, found, "check the resolver: cat /etc/resolv.conf; resolvectl status")
    found = f"{target.host} cannot be resolved: there is no such name"
    return (), failure(
        name, found, f"check {setting} for a typing error; try: getent hosts {quoted(target.host)}"
    )


def connect(target: Target, addresses: Sequence[Any]) -> tuple[socket.socket | None, Finding]:
    """Connect to the first address that answers.

    Returns:
        The connection, for the caller to close; and what was found.
    """
    who = "proxy" if target.proxied else "API"
    name = f"connection to the {who}"
    place = f"{target.host}:{target.port}"
    reason: OSError = OSError("no address")
    for family, kind, protocol, _, address in addresses:
        made = socket.socket(family, kind, protocol)
        made.settimeout(CONNECTING / len(addresses))
        try:
            made.connect(address)
        except OSError as error:
            reason = error
            made.close()
        else:
            made.settimeout(AGREEING)
            return made, ok(name, place)
    if isinstance(reason, TimeoutError):
        found = f"{place} does not answer: a firewall, or no way there"
        return None, failure(
            name, found, f"try: curl -sv -m 5 -o /dev/null {_origin(target)}/; open the firewall for it"
        )
    if isinstance(reason, ConnectionRefusedError):
        setting = "the proxy's variable" if target.proxied else "api_url"
        found = f"{place} refuses the connection: nobody listens there"
        return None, failure(
            name, found, f"check {setting}, and whether the service is up: curl -sv {_origin(target)}/"
        )
    found = f"{place} cannot be reached: {reason.strerror or reason}"
    return None, failure(
        name, found, f"check network and routes: ip route get {addresses[0][4][0] if addresses else place}"
    )


def certificate(target: Target, connection: socket.socket) -> Finding:
    """Agree on TLS as a mount does, and say what is wrong with the certificate; no request is sent."""
    name = "TLS"
    if not target.secure:
        return ok(name, "none: plain http")
    try:
        with Trust().context().wrap_socket(connection, server_hostname=target.host) as made:
            return ok(name, f"{made.version()}, the certificate is good")
    except ssl.SSLCertVerificationError as error:
        return _judged(name, target, error)
    except TimeoutError:
        found = f"{target.host}:{target.port} says nothing when TLS is begun"
        return failure(name, found, "check the port in api_url, and whether a proxy is needed (https_proxy)")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        found = f"{target.host}:{target.port} does not agree on TLS ({reason})"
        return failure(name, found, "check the port in api_url, and whether a proxy is needed (https_proxy)")


def _judged(name: str, target: Target, error: ssl.SSLCertVerificationError) -> Finding:
    shown = _shown_certificate(target)
    now = datetime.now(UTC)
    here = f"here it is {now:%Y-%m-%d %H:%M} UTC"
    if error.verify_code == _EXPIRED:
        since = f" on {shown.not_valid_after_utc:%Y-%m-%d %H:%M}" if shown else ""
        found = f"the certificate of {target.host} has expired{since}; {here}"
        return failure(
            name,
            found,
            "if the clock here is wrong: timedatectl set-ntp true; else the service has to renew it",
        )
    if error.verify_code == _EARLY:
        since = f" before {shown.not_valid_before_utc:%Y-%m-%d %H:%M}" if shown else " yet"
        found = f"the certificate of {target.host} is not valid{since}; {here}"
        return failure(name, found, "set the clock: timedatectl set-ntp true")
    if error.verify_code in _NAMES:
        names = f", it is for {_names(shown)}" if shown else ""
        found = f"the certificate is not for {target.host}{names}"
        return failure(name, found, "write the name that the certificate has in api_url")
    reason = _UNKNOWN.get(error.verify_code, f"is refused ({error.verify_message})")
    found = f"the certificate of {target.host} {reason}"
    set_already = next((variable for variable in VARIABLES if os.environ.get(variable)), None)
    believed = f" (believed is what {set_already} names)" if set_already else ""
    return failure(name, f"{found}{believed}", OWN_AUTHORITY)


def _shown_certificate(target: Target) -> x509.Certificate | None:
    """Return what the server shows, believed or not: to be described, never to be trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            closing(socket.create_connection((target.host, target.port), timeout=AGREEING / 2)) as plain,
            context.wrap_socket(plain, server_hostname=target.host) as made,
        ):
            return x509.load_der_x509_certificate(made.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError):
        return None


def _names(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return "no name"
    names = [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]
    return ", ".join(names[:3]) or "no name"


def _target(url: str, *, proxied: bool) -> Target:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    return Target(parts.hostname or "?", parts.port or (443 if secure else 80), secure, proxied)


def _origin(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{'https' if target.secure else 'http'}://{host}:{target.port}"
