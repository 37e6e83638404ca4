import pytest

from muster.model.errors import NotFound
from muster.model.versions import Version, parse_selector
from muster.registry.core_catalogue import Catalogue, Entry, Name


def name(text: str) -> Name:
    capability, _, version = text.partition("@")
    return Name(capability, Version(*map(int, version.split("."))))


def make_catalogue(*texts: str) -> Catalogue:
    catalogue = Catalogue()
    for text in texts:
        catalogue.add("acme", Entry(name(text), text))
    return catalogue


def bodies(catalogue: Catalogue, prefix: str = "", last: str = "") -> list[object]:
    after = catalogue.after("acme", prefix, name(last) if last else None)
    return [entry.body for entry in after]


def test_the_newest_acceptable_version_is_found():
    catalogue = make_catalogue("a@1.9.0", "a@1.10.0", "a@2.0.1", "ab@9.0.0")
    for selector, expected in (("", "a@2.0.1"), ("1", "a@1.10.0"), ("1.9.0", "a@1.9.0")):
        assert catalogue.newest("acme", "a", parse_selector(selector)).body == expected


@pytest.mark.parametrize(
    ("tenant", "capability", "selector"),
    [
        ("acme", "a", "3"),
        ("acme", "b", ""),
        ("other", "a", ""),
    ],
)
def test_what_nobody_offered_is_unknown(tenant: str, capability: str, selector: str):
    with pytest.raises(NotFound) as caught:
        make_catalogue("a@1.0.0").newest(tenant, capability, parse_selector(selector))
    assert caught.value.reason == "CAPABILITY_UNKNOWN"


def test_entries_come_in_order_of_name_and_version_from_anywhere():
    catalogue = make_catalogue("b@1.0.0", "a@1.10.0", "a@1.9.0", "ab@1.0.0", "a@2.0.0")
    everything = ["a@1.9.0", "a@1.10.0", "a@2.0.0", "ab@1.0.0", "b@1.0.0"]
    assert bodies(catalogue) == everything
    for at, last in enumerate(everything, 1):
        assert bodies(catalogue, last=last) == everything[at:]
    assert bodies(catalogue, "ab") == ["ab@1.0.0"]
    assert bodies(catalogue, "a", "a@1.10.0") == ["a@2.0.0", "ab@1.0.0"]
    assert bodies(catalogue, "ab", "a@1.9.0") == ["ab@1.0.0"]


def test_an_entry_that_is_there_never_changes():
    catalogue = make_catalogue("a@1.0.0")
    catalogue.add("acme", Entry(name("a@1.0.0"), "other"))
    assert bodies(catalogue) == ["a@1.0.0"]
    assert catalogue.size("acme") == 1
