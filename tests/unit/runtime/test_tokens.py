"""Tokens: promise.md's table, and what else a forger would try."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from muster.model import limits
from muster.model.errors import Code, NotAuthenticated
from muster.runtime.config import ConfigError
from muster.runtime.identity.token_keys import key_files, load_keys
from muster.runtime.identity.tokens import Tokens
from muster.runtime.identity.watched import Watched
from muster.runtime.principal import AGENT, ANYTHING, CLIENT, Grants, Principal
from tests.support.identities import AUDIENCE, ISSUER, Issuer, claims_of

ISSUED = Issuer()
STRANGER = Issuer()


def tokens_of(path: Path, **fields: Any) -> Tokens:
    watched = Watched("keys", lambda: key_files(path), lambda: load_keys(path))
    return Tokens(watched, ISSUER, AUDIENCE, **fields)


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return tokens_of(ISSUED.write(tmp_path / "keys.json"))


def b64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(header: dict[str, Any], signature: bytes = b"") -> str:
    return f"{b64(header)}.{b64(claims_of())}.{b64(signature)}"


def resigned(header: dict[str, Any]) -> str:
    """As HS256, with the RSA public key for a secret."""
    import hashlib
    import hmac

    signing = f"{b64(header)}.{b64(claims_of())}"
    mac = hmac.new(ISSUED.public_pem("RS256"), signing.encode(), hashlib.sha256)
    return f"{signing}.{b64(mac.digest())}"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_good_token_names_tenant_name_roles_and_grants(tokens: Tokens, algorithm: str):
    token = ISSUED.token(algorithm, roles=["client", "agent"], submits=["text.*"], hosts=["h"])
    known = tokens.check(token)
    name = "ann@example.com"
    grants = Grants(("text.*",), ANYTHING, ("h",), (name, f"{name}.*"))
    assert known.principal == Principal("acme", name, frozenset({CLIENT, AGENT}), grants)
    assert tokens.check(token) is known


NOW = time.time()
BAD: dict[str, Callable[[], str]] = {
    "alg none": lambda: unsigned({"alg": "none", "kid": "ES256"}),
    "alg None": lambda: unsigned({"alg": "None", "kid": "RS256"}),
    "no alg": lambda: unsigned({"kid": "ES256"}),
    "HS256 with the RSA public key": lambda: resigned({"alg": "HS256", "kid": "RS256"}),
    "RS256 header over an HMAC": lambda: resigned({"alg": "RS256", "kid": "RS256"}),
    "kid with a path": lambda: ISSUED.token(headers={"kid": "../../etc/passwd"}),
    "kid with a URL": lambda: ISSUED.token(headers={"kid": "http://127.0.0.1:1/keys"}),
    "kid of another key": lambda: ISSUED.token("RS256", headers={"kid": "ES256"}),
    "unknown kid": lambda: ISSUED.token(headers={"kid": "next"}),
    "jku": lambda: ISSUED.token(headers={"jku": "http://127.0.0.1:1/keys"}),
    "jwk": lambda: STRANGER.token(headers={"jwk": STRANGER.jwk("ES256")}),
    "x5u": lambda: ISSUED.token(headers={"x5u": "http://127.0.0.1:1/cert"}),
    "x5c": lambda: ISSUED.token(headers={"x5c": ["AAAA"]}),
    "crit": lambda: ISSUED.token(headers={"crit": ["exp"]}),
    "another kind of token": lambda: ISSUED.token(headers={"typ": "dpop+jwt"}),
    "expired by more than a minute": lambda: ISSUED.token(exp=int(NOW) - 61),
    "no exp": lambda: ISSUED.token(without=("exp",)),
    "exp that is text": lambda: ISSUED.token(exp="never"),
    "exp that is endless": lambda: ISSUED.token(exp=float("inf")),
    "exp that is no number": lambda: ISSUED.token(exp=float("nan")),
    "exp that is true": lambda: ISSUED.token(exp=True),
    "not yet": lambda: ISSUED.token(nbf=int(NOW) + 3600),
    "wrong iss": lambda: ISSUED.token(iss="https://evil.example.com"),
    "iss that is a list": lambda: ISSUED.token(iss=[ISSUER]),
    "no iss": lambda: ISSUED.token(without=("iss",)),
    "wrong aud": lambda: ISSUED.token(aud="others"),
    "no aud": lambda: ISSUED.token(without=("aud",)),
    "no sub": lambda: ISSUED.token(without=("sub",)),
    "sub that is no name": lambda: ISSUED.token(sub="a\r\nb"),
    "no claim of ours": lambda: ISSUED.token(without=("muster",)),
    "unknown field in it": lambda: ISSUED.token(admin=True),
    "no tenant": lambda: ISSUED.token(tenant=None),
    "tenant that is a path": lambda: ISSUED.token(tenant="../other"),
    "no roles": lambda: ISSUED.token(roles=[]),
    "role service": lambda: ISSUED.token(roles=["service"]),
    "roles that are text": lambda: ISSUED.token(roles="client"),
    "patterns with two stars": lambda: ISSUED.token(submits=["a*b*c"]),
    "another's signature": lambda: STRANGER.token(),
    "ECDSA r = s = 0": lambda: unsigned({"alg": "ES256", "kid": "ES256"}, bytes(64)),
    "ECDSA without a signature": lambda: unsigned({"alg": "ES256", "kid": "ES256"}),
    "EdDSA of zeros": lambda: unsigned({"alg": "EdDSA", "kid": "EdDSA"}, bytes(64)),
    "changed claims": lambda: ".".join(
        (ISSUED.token().split(".")[0], b64(claims_of(tenant="b")), ISSUED.token().split(".")[2])
    ),
    "no token": lambda: "",
    "not three parts": lambda: "a.b",
    "no letters": lambda: "é.\0.☃",
    "deeply nested": lambda: f"{b64(b'[' * 5_000)}.e30.AA",
    "very long": lambda: ISSUED.token(note="x" * limits.TOKEN_BYTES_MAX),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_unauthenticated_and_not_repeated(tokens: Tokens, kind: str):
    token = BAD[kind]()
    for _ in range(2):
        with pytest.raises(NotAuthenticated) as caught:
            tokens.check(token)
        assert caught.value.code is Code.UNAUTHENTICATED
        for part in filter(None, token.split(".")):
            assert len(part) < 4 or part not in caught.value.message


def test_clocks_may_differ_by_half_a_minute_and_no_more(tmp_path: Path):
    now = [time.time()]
    tokens = tokens_of(ISSUED.write(tmp_path / "keys.json"), wall=lambda: now[0])
    token = ISSUED.token(exp=int(now[0]) - 20)
    assert limits.TOKEN_LEEWAY_SECONDS < 60
    tokens.check(token)
    now[0] += 11
    with pytest.raises(NotAuthenticated, match="expired"):
        tokens.check(token)


def test_new_keys_are_read_and_old_ones_are_over_without_a_restart(tmp_path: Path):
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps({"keys": [ISSUED.jwk("ES256")]}))
    tokens = tokens_of(folder)
    old = ISSUED.token()
    renewed = STRANGER.token(headers={"kid": "next"})
    tokens.check(old)
    with pytest.raises(NotAuthenticated):
        tokens.check(renewed)
    second = folder / "b.json"
    second.write_text(json.dumps({"keys": [{**STRANGER.jwk("ES256"), "kid": "next"}]}))
    assert tokens.check(old).principal == tokens.check(renewed).principal
    (folder / "a.json").unlink()
    with pytest.raises(NotAuthenticated):
        tokens.check(old)
    second.write_text("{")
    tokens.check(renewed)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not JSON"),
        ("[]", "no JWKS"),
        ('{"keys": []}', "no key"),
        ('{"keys": [1]}', "no JWK"),
        ('{"keys": [{"kty": "oct", "k": "AAAA"}]}', "secret"),
        ('{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}', "malformed|less than"),
        ('{"keys": [{"kty": "EC", "crv": "P-521"}]}', "kind"),
        ('{"keys": [{"kty": "EC", "crv": "P-256", "x": "!", "y": "!"}]}', "malformed"),
    ],
)
def test_keys_that_are_no_use_are_refused_by_setting(tmp_path: Path, content: str, said: str):
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=said) as caught:
        load_keys(path)
    assert "MUSTER_TOKEN_KEYS" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_private_key_among_the_public_ones_is_refused(tmp_path: Path):
    made = jwt.algorithms.ECAlgorithm.to_jwk(ISSUED.keys["ES256"], as_dict=True)
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [made]}))
    with pytest.raises(ConfigError, match="secret"):
        load_keys(tmp_path / "keys.json")
