"""Certificates and tokens for tests, of an authority and an issuer of the test's own."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from muster.runtime.config import Tls
from muster.runtime.identity.authority import Authority, make_authority
from muster.runtime.identity.spiffe import service_id, tenant_id
from muster.wire.security import Security

DOMAIN = "test.local"
ISSUER = "https://id.example.com"
AUDIENCE = "muster"
LOCAL = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Pki:
    """An authority, with a certificate for the services."""

    authority: Authority
    tls: Tls

    @classmethod
    def make(cls, folder: Path, **fields: Any) -> Pki:
        """Files in `folder`; `fields` are those of `Tls`."""
        authority = make_authority(folder, DOMAIN)
        cert, key = authority.issue("services", service_id(DOMAIN, "all"), LOCAL)
        return cls(authority, Tls(tls_cert=cert, tls_key=key, tls_ca=authority.path, **fields))

    def caller(self, role: str, name: str = "ann", tenant: str = "acme") -> Security:
        """A caller that belongs to a tenant."""
        file = f"{tenant}-{role}-{name}"
        cert, key = self.authority.issue(file, tenant_id(DOMAIN, tenant, role, name), force=True)
        return Security(self.authority.path, cert, key)

    def service(self, name: str = "other", file: str = "") -> Security:
        """A process of the mesh; `file` is whose files are replaced, if not its own."""
        file = f"service-{file or name}"
        cert, key = self.authority.issue(file, service_id(DOMAIN, name), force=True)
        return Security(self.authority.path, cert, key)

    def identity(self, uri: str) -> Security:
        """Whatever identity."""
        cert, key = self.authority.issue("whatever", uri, force=True)
        return Security(self.authority.path, cert, key)

    def stranger(self) -> Security:
        """Believes the authority, and has nothing to show."""
        return Security(self.authority.path)

    def with_token(self, token: str) -> Security:
        """Shows a token."""
        return Security(self.authority.path, token=token)


def environment(security: Security) -> dict[str, str]:
    """What tells the SDK the same."""
    named = {
        "MUSTER_TLS_CA": security.ca,
        "MUSTER_TLS_CERT": security.cert,
        "MUSTER_TLS_KEY": security.key,
        "MUSTER_TOKEN_FILE": security.token_file,
        "MUSTER_TOKEN": security.token,
    }
    return {name: str(value or "") for name, value in named.items()}


class Issuer:
    """Issues tokens, with a key of each kind."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {
            "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }

    def jwks(self) -> dict[str, Any]:
        """The public keys; each is called after its algorithm."""
        return {"keys": [self.jwk(algorithm) for algorithm in self.keys]}

    def jwk(self, algorithm: str) -> dict[str, Any]:
        """One public key."""
        kinds: Mapping[str, Any] = {
            "RS256": jwt.algorithms.RSAAlgorithm,
            "ES256": jwt.algorithms.ECAlgorithm,
            "EdDSA": jwt.algorithms.OKPAlgorithm,
        }
        public = self.keys[algorithm].public_key()
        made: dict[str, Any] = kinds[algorithm].to_jwk(public, as_dict=True)
        return {**made, "kid": algorithm, "use": "sig"}

    def public_pem(self, algorithm: str) -> bytes:
        """A public key as an attacker would use it for a secret."""
        public = self.keys[algorithm].public_key()
        pem: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem

    def write(self, path: Path) -> Path:
        """The JWKS as a file."""
        path.write_text(json.dumps(self.jwks()))
        return path

    def token(
        self,
        algorithm: str = "ES256",
        headers: Mapping[str, Any] | None = None,
        without: tuple[str, ...] = (),
        **claims: Any,
    ) -> str:
        """A token, good unless `claims` or `headers` say otherwise."""
        said = claims_of(**claims)
        for name in without:
            del said[name]
        header = {"kid": algorithm, **(headers or {})}
        # As bytes, because what is wrong on purpose would be refused otherwise.
        content = json.dumps(said).encode()
        return jwt.api_jws.encode(content, self.keys[algorithm], algorithm, headers=header)


def claims_of(**claims: Any) -> dict[str, Any]:
    """Claims that are in order, but for those given. What is not registered goes into `muster`."""
    registered = {"iss", "aud", "exp", "sub", "nbf", "iat"}
    mesh = {
        "tenant": "acme",
        "roles": ["client"],
        **{name: value for name, value in claims.items() if name not in registered},
    }
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": int(time.time()) + 600,
        "sub": "ann@example.com",
        "muster": mesh,
        **{name: value for name, value in claims.items() if name in registered},
    }
