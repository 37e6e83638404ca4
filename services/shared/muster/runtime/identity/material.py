"""This process's certificate, key and authorities, from PEM files."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from muster.model import limits
from muster.runtime.config import ConfigError, Tls
from muster.runtime.identity.spiffe import domain_of
from muster.runtime.identity.watched import read_file

_CERT, _KEY, _CA = "MUSTER_TLS_CERT", "MUSTER_TLS_KEY", "MUSTER_TLS_CA"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_ROOT = 0


class Material(NamedTuple):
    """All of it in PEM, and what the certificate says of the process."""

    cert: bytes
    key: bytes
    ca: bytes
    domain: str | None  # trust domain


def load_material(tls: Tls) -> Material:
    """What the files hold now. Raises `ConfigError`: one sentence that names the setting."""
    cert_path, key_path, ca_path = _paths(tls)
    cert = read_file(_CERT, cert_path, limits.PEM_BYTES_MAX)
    key = read_file(_KEY, key_path, limits.PEM_BYTES_MAX)
    ca = read_file(_CA, ca_path, limits.PEM_BYTES_MAX)
    if tls.profile == "production":
        _require_private(key_path)
    own = _certificates(_CERT, cert)[0]
    _certificates(_CA, ca)
    if _public(own.public_key()) != _public(_private_key(key).public_key()):
        raise ConfigError(f"{_KEY} is not the key of the certificate in {_CERT}")
    if own.not_valid_after_utc <= datetime.now(UTC):
        raise ConfigError(f"the certificate in {_CERT} has expired; make another: muster certs")
    return Material(cert, key, ca, domain_of(uris_of(own)))


def paths_of(tls: Tls) -> list[Path]:
    """The files that it comes from."""
    return list(_paths(tls))


def _paths(tls: Tls) -> tuple[Path, Path, Path]:
    named = {_CERT: tls.tls_cert, _KEY: tls.tls_key, _CA: tls.tls_ca}
    missing = [name for name, path in named.items() if path is None]
    if missing:
        raise ConfigError(
            f"TLS needs {_CERT}, {_KEY} and {_CA}; set {', '.join(missing)} too. "
            "For files to begin with: muster certs"
        )
    assert tls.tls_cert is not None
    assert tls.tls_key is not None
    assert tls.tls_ca is not None
    return tls.tls_cert, tls.tls_key, tls.tls_ca


def _require_private(path: Path) -> None:
    """As PostgreSQL has it: 0600, or 0640 where it is root's, who lends it to a group. Kubernetes
    and systemd give keys so: https://www.postgresql.org/docs/current/ssl-tcp.html"""
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"the file of {_KEY} cannot be read: {error.strerror}") from None
    lent = stat.S_IRGRP if found.st_uid == _ROOT else 0
    if found.st_mode & _OTHERS & ~lent:
        raise ConfigError(f"others may read the file of {_KEY}; take that from them: chmod 600")


def _certificates(name: str, pem: bytes) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ConfigError(f"{name} must name a PEM file with certificates") from None
    return found


def _private_key(pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{_KEY} must name a PEM file with one unencrypted key") from None


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def uris_of(certificate: x509.Certificate) -> list[str]:
    """The URIs among the subject's alternative names."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)
