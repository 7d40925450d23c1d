"""Certificate authorities of a test's own, and the certificates they give out."""

from __future__ import annotations

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from cryptography.x509.general_name import GeneralName

PEM = serialization.Encoding.PEM


class Authority:
    """One authority.

    Args:
        name: its common name; two of one name are still two.
    """

    def __init__(self, name: str = "Test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = _build(
            self._name, self._name, self._key, self._key, days=(-1, 30), authority=True, names=[]
        )

    def write(self, path: Path) -> Path:
        """Write the certificate to a file and return it."""
        path.write_bytes(self._certificate.public_bytes(PEM))
        return path

    def server(self, *hosts: str, days: tuple[float, float] = (-1, 30)) -> ssl.SSLContext:
        """Return the TLS of a server.

        Args:
            hosts: names and addresses in its certificate.
            days: from when to when it is good, in days from now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        names = [_general(host) for host in hosts]
        certificate = _build(
            subject,
            self._name,
            key,
            self._key,
            days=days,
            authority=False,
            names=names,
            issuer=self._certificate,
        )
        return context_of(certificate, key)


def self_signed(*hosts: str) -> ssl.SSLContext:
    """Return the TLS of a server that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self")])
    names = [_general(host) for host in hosts]
    return context_of(_build(name, name, key, key, days=(-1, 30), authority=False, names=names), key)


def context_of(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
    """Return a server's TLS with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pem"
        path.write_bytes(private + certificate.public_bytes(PEM))
        context.load_cert_chain(path)
    return context


def _general(host: str) -> GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _build(
    subject: x509.Name,
    issuer_name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    days: tuple[float, float],
    authority: bool,
    names: list[GeneralName],
    issuer: x509.Certificate | None = None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    # As strict checks want it: identifiers of both keys, uses, and names where there are any.
    theirs = signer.public_key() if issuer is None else issuer.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(theirs), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=authority,
                crl_sign=authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())
