"""A development authority: makes its own certificate, and leaves for services, agents and clients.

For one machine or a test. It keeps its key beside its certificate, revokes nothing, and is not for
production: there an authority that people trust issues the same identities (`spiffe.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from muster.runtime.config import ConfigError
from muster.runtime.identity.material import uris_of
from muster.runtime.identity.spiffe import domain_of, is_domain

AUTHORITY_DAYS = 365
LEAF_DAYS = 30
# Clocks differ; a certificate that is not valid yet on the other machine is a puzzle.
_EARLIER = timedelta(minutes=5)
_NAME = "ca"
_MACHINE = re.compile(r"(?=.{1,253}$)(\*\.)?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate and its key, and where they are."""

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    domain: str

    @property
    def path(self) -> Path:
        """PEM of the certificate."""
        return self.folder / f"{_NAME}.pem"

    def certificate_path(self, file: str) -> Path:
        """Where `issue` puts a certificate."""
        return self.folder / f"{file}.pem"

    def issue(
        self,
        file: str,
        uri: str,
        addresses: Iterable[str] = (),
        *,
        days: float = LEAF_DAYS,
        force: bool = False,
    ) -> tuple[Path, Path]:
        """A certificate for identity `uri` at `addresses`, names or IPs; returns the PEM files of
        it and of its key. Raises `ConfigError` where they are there already, unless `force`."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
        names.extend(address_name(each) for each in addresses)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if len(names) > 1:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = (
            _builder(file, self.certificate.subject, key, days)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        return _write(self.folder, file, builder.sign(self.key, hashes.SHA256()), key, force=force)


def make_authority(folder: Path, domain: str) -> Authority:
    """A new one in `folder`. Raises `ConfigError` where there is one already: without it, all that
    it has issued would be worth nothing."""
    if not is_domain(domain):
        raise ConfigError("a trust domain has a-z, 0-9 and ._- only, for example muster.local")
    key = ec.generate_private_key(ec.SECP256R1())
    title = f"Muster development {domain}"[:64]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{domain}")])
    certificate = (
        _builder("", subject, key, AUTHORITY_DAYS)
        .subject_name(subject)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}") from None
    _write(folder, _NAME, certificate, key, force=False)
    return Authority(folder, certificate, key, domain)


def open_authority(folder: Path) -> Authority:
    """The one that is in `folder`. Raises `ConfigError` where there is none that can be used."""
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"{_NAME}.pem").read_bytes())
        key = load_pem_private_key((folder / f"{_NAME}.key").read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"the authority cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ConfigError(
            "the authority's files are no PEM; make another in an empty folder"
        ) from None
    domain = domain_of(uris_of(certificate))
    if domain is None or not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("the authority in this folder was not made by muster certs")
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise ConfigError(
            "the authority in this folder has expired; make another in an empty folder"
        )
    return Authority(folder, certificate, key, domain)


def has_authority(folder: Path) -> bool:
    """Whether there is one."""
    return (folder / f"{_NAME}.pem").exists() or (folder / f"{_NAME}.key").exists()


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
    )
    if not name:
        return builder
    return builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]))


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def address_name(text: str) -> x509.GeneralName:
    """An IP address or a machine's name as certificates have it; raises `ConfigError`."""
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        if not _MACHINE.fullmatch(text):
            message = f"{text!r} is neither an IP address nor the name of a machine"
            raise ConfigError(message) from None
    return x509.DNSName(text)


def _write(
    folder: Path,
    name: str,
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    *,
    force: bool,
) -> tuple[Path, Path]:
    cert_path, key_path = folder / f"{name}.pem", folder / f"{name}.key"
    for path in (cert_path, key_path):
        if path.exists() and not force:
            raise ConfigError(f"{path} is there already; keep it, or replace it with --force")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        # The key first: whoever sees the new certificate before it waits for the key's next change.
        _replace(key_path, pem, 0o600)
        _replace(cert_path, certificate.public_bytes(Encoding.PEM), 0o644)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written to: {error.strerror}") from None
    return cert_path, key_path


def _replace(path: Path, content: bytes, mode: int) -> None:
    """In one step, so that nobody reads half of it; and never readable by more than `mode` says."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    part.replace(path)
