"""The public keys that tokens are checked with: JWKS from files, never from anywhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from muster.model import limits
from muster.runtime.config import ConfigError
from muster.runtime.identity.watched import read_file

SETTING = "MUSTER_TOKEN_KEYS"
RSA_BITS_MIN = 2048
ALGORITHMS = ("RS256", "ES256", "EdDSA")


class Key(NamedTuple):
    """A key, and the one algorithm that it is for."""

    kid: str | None
    algorithm: str
    public: RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class KeySet:
    """All keys of all issuers' files."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)

    def find(self, kid: str | None, algorithm: object) -> Key | None:
        """The key of a token; one without a `kid` is taken for that of the only key there is."""
        for key in self._keys:
            fits = len(self._keys) == 1 if kid is None else key.kid == kid
            if fits and key.algorithm == algorithm:
                return key
        return None


def key_files(path: Path) -> list[Path]:
    """`path`, or if it is a folder, itself and each *.json in it: a change of any counts."""
    if path.is_dir():
        return [path, *sorted(path.glob("*.json"))]
    return [path]


def load_keys(path: Path) -> KeySet:
    """Every key. Raises `ConfigError` where there is none, or one is no use."""
    keys: list[Key] = []
    for each in key_files(path):
        if not each.is_dir():
            keys.extend(_keys_of_file(each))
    if not keys:
        raise ConfigError(f"{SETTING} names no key; it must name a JWKS file, or a folder of them")
    if len(keys) > limits.TOKEN_KEYS_MAX:
        raise ConfigError(f"{SETTING} names more than {limits.TOKEN_KEYS_MAX} keys")
    named = [key.kid for key in keys]
    if len(keys) > 1 and (None in named or len(set(named)) < len(named)):
        raise ConfigError(f"{SETTING} names several keys; each needs a kid of its own")
    return KeySet(keys)


def _keys_of_file(path: Path) -> Iterable[Key]:
    content = read_file(SETTING, path, limits.TOKEN_KEYS_BYTES_MAX)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ConfigError(f"{SETTING} names a file that is not JSON") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ConfigError(f'{SETTING} names a file that is no JWKS: {{"keys": […]}}')
    return [_key(number, each) for number, each in enumerate(listed, 1)]


def _key(number: int, said: Any) -> Key:
    where = f"key {number} of a file of {SETTING}"
    if not isinstance(said, dict):
        raise ConfigError(f"{where} is no JWK")
    if said.get("kty") == "oct" or "d" in said:
        raise ConfigError(f"{where} is secret; only public keys belong there")
    kid = said.get("kid")
    if not (kid is None or (isinstance(kid, str) and kid)):
        raise ConfigError(f"{where}: its kid must be text")
    if said.get("use", "sig") != "sig":
        raise ConfigError(f"{where} is not for signatures; leave it out")
    algorithm = _algorithm(said)
    if algorithm is None or said.get("alg", algorithm) != algorithm:
        raise ConfigError(f"{where} is of a kind that is not taken; {', '.join(ALGORITHMS)} are")
    try:
        public = jwt.PyJWK(said, algorithm).key
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no key
        raise ConfigError(f"{where} is malformed") from None
    if isinstance(public, RSAPublicKey) and public.key_size < RSA_BITS_MIN:
        raise ConfigError(f"{where} has less than {RSA_BITS_MIN} bits")
    return Key(kid, algorithm, public)


def _algorithm(said: dict[str, Any]) -> str | None:
    match said.get("kty"), said.get("crv"):
        case "RSA", _:
            return "RS256"
        case "EC", "P-256":
            return "ES256"
        case "OKP", "Ed25519":
            return "EdDSA"
    return None
