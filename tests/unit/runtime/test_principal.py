import pytest

from muster.model.errors import InvalidArgument
from muster.runtime.principal import (
    DEFAULT_PRINCIPAL,
    PRINCIPAL_KEY,
    TENANT_KEY,
    Principal,
    current_principal,
    principal_of_metadata,
)


def test_a_call_that_says_nothing_comes_from_the_default_principal():
    assert principal_of_metadata([("user-agent", "x")]) == Principal("default", "local")
    assert current_principal() is DEFAULT_PRINCIPAL


def test_tenant_and_principal_come_from_metadata():
    metadata = [(TENANT_KEY, "acme"), (PRINCIPAL_KEY, "alice@example.com")]
    assert principal_of_metadata(metadata) == Principal("acme", "alice@example.com")


def test_either_may_be_left_out():
    assert principal_of_metadata([(TENANT_KEY, "acme")]) == Principal("acme", "local")
    assert principal_of_metadata([(PRINCIPAL_KEY, "bob")]) == Principal("default", "bob")


@pytest.mark.parametrize(
    "tenant", ["", "A", "-a", "a-", "a.b", "a/b", "..", "a b", "a\n", "ä", "*", ">", "a" * 65, b"a"]
)
def test_a_malformed_tenant_is_refused_by_its_key(tenant: str):
    with pytest.raises(InvalidArgument) as caught:
        principal_of_metadata([(TENANT_KEY, tenant)])
    assert caught.value.violations[0].field == TENANT_KEY


@pytest.mark.parametrize("name", ["", " ", ".a", "a b", "a\r\n", "a\0", "ä", "*", "a" * 129])
def test_a_malformed_principal_is_refused_by_its_key(name: str):
    with pytest.raises(InvalidArgument) as caught:
        principal_of_metadata([(PRINCIPAL_KEY, name)])
    assert caught.value.violations[0].field == PRINCIPAL_KEY


def test_a_tenant_named_twice_is_refused():
    with pytest.raises(InvalidArgument, match="only once"):
        principal_of_metadata([(TENANT_KEY, "a"), (TENANT_KEY, "b")])
