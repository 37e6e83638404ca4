"""Identities in tokens: JWTs, by keys that this machine has.

    {"iss": "https://id.example.com", "aud": "muster", "exp": 1790000000, "sub": "ann@example.com",
     "muster": {"tenant": "acme", "roles": ["client"], "submits": ["text.*"]}}

The header chooses among the keys that are there, by `kid`, and nothing else: it brings no key, it
names no place to fetch one from, and the algorithm is the key's. A token gives no role `service`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt

from muster.model import limits
from muster.model.errors import NotAuthenticated
from muster.runtime.identity.spiffe import TENANT_ROLES, names_of
from muster.runtime.identity.token_keys import KeySet
from muster.runtime.identity.watched import Watched
from muster.runtime.principal import (
    ANYTHING,
    Grants,
    Patterns,
    Principal,
    are_patterns,
    is_name,
    is_tenant,
    roles_of_names,
)

_KID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]{0,127}")
# Of what a header may say (RFC 7515), that which neither brings a key nor changes the rules.
_HEADER_FIELDS = frozenset({"alg", "kid", "typ", "cty"})
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_REQUIRED = ["exp", "iss", "aud", "sub"]
_CLAIM = "muster"
_CLAIM_FIELDS = frozenset({"tenant", "roles", "submits", "offers", "hosts", "agents", "publishes"})


@dataclass(frozen=True, slots=True)
class Known:
    """A token that was checked."""

    principal: Principal
    ends_at: float  # wall time, leeway included
    has_grants: bool  # whether it says itself what is granted


class Tokens:
    """Checks tokens. Remembers those that are good, by their hash, until they end."""

    def __init__(
        self,
        keys: Watched[KeySet],
        issuer: str,
        audience: str,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._wall = wall
        self._known: dict[bytes, Known] = {}
        self._version = keys.version

    def check(self, token: str | bytes) -> Known:
        """Who the token is for. Raises `NotAuthenticated`, with no part of the token in it."""
        if not isinstance(token, str) or len(token) > limits.TOKEN_BYTES_MAX:
            raise NotAuthenticated(f"a token has at most {limits.TOKEN_BYTES_MAX} letters")
        keys = self._keys.current()
        if self._version != self._keys.version:
            self._version = self._keys.version
            self._known.clear()
        digest = sha256(token.encode(errors="replace")).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._read(token, keys)
            while len(self._known) >= limits.TOKENS_KNOWN_MAX:
                del self._known[next(iter(self._known))]
            self._known[digest] = known
        if known.ends_at <= self._wall():
            raise NotAuthenticated("the token has expired; get another")
        return known

    def _read(self, token: str, keys: KeySet) -> Known:
        try:
            claims = self._claims(token, keys)
        except NotAuthenticated:
            raise
        except jwt.ExpiredSignatureError:
            raise NotAuthenticated("the token has expired; get another") from None
        except jwt.InvalidIssuerError:
            raise NotAuthenticated("the token's iss is not the issuer that is expected") from None
        except jwt.InvalidAudienceError:
            raise NotAuthenticated("the token's aud is not this mesh") from None
        except jwt.MissingRequiredClaimError as error:
            raise NotAuthenticated(f"the token lacks {error.claim}") from None
        except Exception:  # noqa: BLE001 - whatever is in it, its sender is to blame
            raise NotAuthenticated("the token is malformed, or not signed by a known key") from None
        return _known_of(claims)

    def _claims(self, token: str, keys: KeySet) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        if not set(header) <= _HEADER_FIELDS:
            raise NotAuthenticated(
                "the token's header may say alg, kid and typ, and bring or name no key"
            )
        if str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise NotAuthenticated("the token's typ is not JWT")
        kid = header.get("kid")
        if kid is not None and not _KID.fullmatch(kid):
            raise NotAuthenticated("the token's kid is not the name of a key")
        key = keys.find(kid, header.get("alg"))
        if key is None:
            raise NotAuthenticated("the token is signed by no key that is known here")
        claims = jwt.decode(
            token,
            key.public,
            algorithms=[key.algorithm],
            issuer=self._issuer,
            audience=self._audience,
            leeway=limits.TOKEN_LEEWAY_SECONDS,
            options={"require": _REQUIRED},
        )
        if not isinstance(claims["exp"], int | float):
            raise NotAuthenticated("the token's exp is no time")
        return claims


def _known_of(claims: dict[str, Any]) -> Known:
    said = claims.get(_CLAIM)
    if not isinstance(said, dict) or not set(said) <= _CLAIM_FIELDS:
        raise NotAuthenticated(
            f"the token needs a claim {_CLAIM!r} with tenant and roles, and perhaps "
            "submits, offers, hosts, agents, publishes"
        )
    subject, tenant, names = claims["sub"], said.get("tenant"), said.get("roles")
    if not is_name(subject):
        raise NotAuthenticated("the token's sub must be 1 to 128 of letters, digits and _.@:/+-")
    if not is_tenant(tenant):
        raise NotAuthenticated("the token's tenant is not the name of a tenant")
    if not isinstance(names, list) or not names or not all(_gives(each) for each in names):
        raise NotAuthenticated(f"the token's roles must be of: {', '.join(TENANT_ROLES)}")
    own = names_of(subject)
    grants = Grants(
        _patterns(said, "submits", ANYTHING),
        _patterns(said, "offers", ANYTHING),
        _patterns(said, "hosts", own),
        _patterns(said, "agents", own),
        _patterns(said, "publishes", ANYTHING),
    )
    principal = Principal(str(tenant), subject, roles_of_names(names), grants)
    ends_at = float(claims["exp"]) + limits.TOKEN_LEEWAY_SECONDS
    return Known(principal, ends_at, "submits" in said or "offers" in said)


def _gives(name: object) -> bool:
    return isinstance(name, str) and name in TENANT_ROLES


def _patterns(said: dict[str, Any], name: str, default: Patterns) -> Patterns:
    if name not in said:
        return default
    if not are_patterns(said[name]):
        raise NotAuthenticated(f"the token's {name} must be a list of names, with one * in each")
    return tuple(said[name])
