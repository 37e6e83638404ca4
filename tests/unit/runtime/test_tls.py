"""What a server refuses to start with, and that it says why in one sentence."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from muster.model.errors import NotAuthenticated
from muster.runtime.config import ConfigError, Listen, Role, Tls, load_config
from muster.runtime.identity import material
from muster.runtime.identity.authority import make_authority
from muster.runtime.identity.spiffe import tenant_id
from muster.runtime.tls import Doors
from muster.wire.security import Security, find_security
from tests.support.identities import AUDIENCE, DOMAIN, ISSUER, Issuer, Pki

LISTEN = Listen(grpc_port=0, http_port=None)
ISSUED = Issuer()


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki.make(tmp_path / "pki", profile="production")


def refusal(listen: Listen, tls: Tls) -> str:
    with pytest.raises(ConfigError) as caught:
        Doors(listen, tls)
    return str(caught.value)


def test_loopback_without_tls_is_for_development_only():
    Doors(LISTEN, Tls())
    assert "production" in refusal(LISTEN, Tls(profile="production"))
    assert "TLS" in refusal(replace(LISTEN, host="0.0.0.0"), Tls())


def test_with_tls_any_address_may_be_listened_on(pki: Pki):
    Doors(replace(LISTEN, host="0.0.0.0"), pki.tls)


@pytest.mark.parametrize("name", ["tls_cert", "tls_key", "tls_ca"])
def test_half_of_tls_is_refused_and_names_what_is_missing(pki: Pki, name: str):
    fields: dict[str, Any] = {name: None}
    assert f"MUSTER_{name.upper()}" in refusal(LISTEN, replace(pki.tls, **fields))


@pytest.mark.parametrize("name", ["token_keys", "token_issuer", "token_audience"])
def test_tokens_that_cannot_be_checked_are_refused(pki: Pki, tmp_path: Path, name: str):
    whole = replace(
        pki.tls,
        token_port=0,
        token_keys=ISSUED.write(tmp_path / "keys.json"),
        token_issuer=ISSUER,
        token_audience=AUDIENCE,
    )
    Doors(LISTEN, whole)
    empty: Any = None if name == "token_keys" else " "
    assert f"MUSTER_{name.upper()}" in refusal(LISTEN, replace(whole, **{name: empty}))
    assert "MUSTER_TOKEN_PORT" in refusal(LISTEN, replace(whole, token_port=None))


@pytest.mark.parametrize(
    "fields", [{"token_port": 1}, {"tls_ca": Path("x")}, {"grants": Path("x")}]
)
def test_what_protects_nothing_without_tls_is_refused(fields: dict[str, Any]):
    (name,) = fields
    assert f"MUSTER_{name.upper()} would protect nothing" in refusal(LISTEN, Tls(**fields))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_may_read_is_refused_in_production(
    pki: Pki, mode: int, monkeypatch: pytest.MonkeyPatch
):
    assert pki.tls.tls_key is not None
    pki.tls.tls_key.chmod(mode)
    monkeypatch.setattr(material, "_ROOT", -1)
    assert "chmod 600" in refusal(LISTEN, pki.tls)
    Doors(LISTEN, replace(pki.tls, profile="development"))


def test_a_key_that_root_lends_to_a_group_is_fit_for_production(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
):
    """As Kubernetes and systemd hand keys over: this process could not own them."""
    assert pki.tls.tls_key is not None
    monkeypatch.setattr(material, "_ROOT", pki.tls.tls_key.stat().st_uid)
    pki.tls.tls_key.chmod(0o640)
    Doors(LISTEN, pki.tls)
    for mode in (0o644, 0o660, 0o650):
        pki.tls.tls_key.chmod(mode)
        assert "chmod 600" in refusal(LISTEN, pki.tls)


def _missing(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _nonsense(path: Path) -> None:
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")


def _huge(path: Path) -> None:
    path.write_bytes(b"x" * (1024 * 1024 + 1))


@pytest.mark.parametrize("spoil", [_missing, _folder, _empty, _nonsense, _huge])
@pytest.mark.parametrize("name", ["tls_cert", "tls_key", "tls_ca"])
def test_a_file_that_is_no_use_gets_one_sentence_without_its_path(
    pki: Pki, name: str, spoil: Callable[[Path], None]
):
    path: Path = getattr(pki.tls, name)
    spoil(path)
    said = refusal(LISTEN, pki.tls)
    assert f"MUSTER_{name.upper()}" in said
    assert "\n" not in said
    assert path.name not in said
    assert "c2VjcmV0" not in said


def test_the_key_of_another_certificate_is_refused(pki: Pki):
    other = pki.caller("client")
    assert "is not the key" in refusal(LISTEN, replace(pki.tls, tls_key=other.key))


def test_an_expired_certificate_is_refused(pki: Pki):
    cert, key = pki.authority.issue(
        "old", f"spiffe://{DOMAIN}/service/s", ["localhost"], days=-1e-3
    )
    assert "has expired" in refusal(LISTEN, replace(pki.tls, tls_cert=cert, tls_key=key))


def test_a_certificate_without_a_trust_domain_needs_one_in_the_settings(pki: Pki):
    cert, key = pki.authority.issue("web", "https://example.com", ["localhost"])
    tls = replace(pki.tls, tls_cert=cert, tls_key=key)
    assert "MUSTER_TRUST_DOMAIN" in refusal(LISTEN, tls)
    Doors(LISTEN, replace(tls, trust_domain=DOMAIN))


def test_the_settings_come_from_the_environment():
    config = load_config(
        Role.ALL,
        {
            "MUSTER_PROFILE": "production",
            "MUSTER_TLS_CERT": "c.pem",
            "MUSTER_TLS_KEY": "k.pem",
            "MUSTER_TLS_CA": "a.pem",
            "MUSTER_TOKEN_PORT": "7179",
            "MUSTER_GRANTS": "none",
        },
    )
    assert config.tls.enabled
    assert config.tls.security == Security(Path("a.pem"), Path("c.pem"), Path("k.pem"))
    assert (config.tls.token_port, config.tls.grants) == (7179, None)
    with pytest.raises(ConfigError, match="MUSTER_PROFILE"):
        load_config(Role.ALL, {"MUSTER_PROFILE": "prod"})


# --- the other end --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MUSTER_TLS_CERT", "MUSTER_TOKEN", "MUSTER_TOKEN_FILE"])
def test_credentials_without_an_authority_are_refused(name: str):
    with pytest.raises(NotAuthenticated, match=f"{name} is of no use without TLS"):
        find_security({name: "secret"}).credentials()


@pytest.mark.parametrize("spoil", [_missing, _folder, _empty, _nonsense, _huge])
@pytest.mark.parametrize("name", ["ca", "cert", "key"])
def test_a_client_too_is_told_which_file_is_no_use(
    pki: Pki, name: str, spoil: Callable[[Path], None]
):
    security = pki.caller("client")
    path: Path = getattr(security, name)
    spoil(path)
    with pytest.raises(NotAuthenticated) as caught:
        security.credentials()
    assert f"MUSTER_TLS_{name.upper()}" in caught.value.message
    assert path.name not in caught.value.message


def test_an_encrypted_key_asks_nobody_for_a_password(pki: Pki):
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    security = pki.caller("client")
    assert security.key is not None
    key = load_pem_private_key(security.key.read_bytes(), None)
    locked = BestAvailableEncryption(b"word")
    security.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    with pytest.raises(NotAuthenticated, match="unencrypted"):
        security.credentials()
    tls = replace(pki.tls, tls_cert=security.cert, tls_key=security.key)
    assert "unencrypted" in refusal(LISTEN, tls)


def test_keys_are_for_their_owner_and_nothing_is_overwritten_by_accident(tmp_path: Path):
    authority = make_authority(tmp_path / "certs", DOMAIN)
    uri = tenant_id(DOMAIN, "acme", "agent", "a")
    cert, key = authority.issue("a", uri)
    for path in (key, tmp_path / "certs" / "ca.key"):
        assert path.stat().st_mode & 0o777 == 0o600
    before = cert.read_bytes()
    with pytest.raises(ConfigError, match="--force"):
        authority.issue("a", uri)
    with pytest.raises(ConfigError, match="already"):
        make_authority(tmp_path / "certs", DOMAIN)
    assert cert.read_bytes() == before
    authority.issue("a", uri, force=True)
    assert cert.read_bytes() != before
