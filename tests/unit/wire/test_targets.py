"""Several places as one gRPC target."""

import pytest

from muster.wire.lookup import lookup_target
from muster.wire.targets import channel_target, one_target, places_of


@pytest.mark.parametrize("target", ["127.0.0.1:7171", "dns:///scheduler:7173", "unix:/tmp/x", ""])
def test_one_target_stays_as_it_is(target: str):
    assert channel_target(target) == target


def test_several_are_tried_in_any_order():
    seen = {channel_target("10.0.0.1:1, 10.0.0.2:2") for _ in range(100)}
    assert seen == {"ipv4:10.0.0.1:1,10.0.0.2:2", "ipv4:10.0.0.2:2,10.0.0.1:1"}


def test_names_are_looked_up_and_ipv6_stands_in_brackets():
    assert channel_target("localhost:1,127.0.0.2:2").startswith("ipv4:127.0.0.")
    assert channel_target("[::1]:1,[::2]:2").startswith("ipv6:[::")


@pytest.mark.parametrize("targets", ["a,b", "10.0.0.1:1,10.0.0.2", "10.0.0.1:1,[::1]:2", ":1,:2"])
def test_what_cannot_be_is_told(targets: str):
    with pytest.raises(ValueError, match=r"no place|mixes"):
        channel_target(targets)


def test_a_directory_says_for_each_kind_what_is_looked_up():
    url = "consul://127.0.0.1:8500"
    assert lookup_target(url, "scheduler") == f"{url}/muster-scheduler"
    assert lookup_target(f"{url}/muster-scheduler", "scheduler") == f"{url}/muster-scheduler"
    assert lookup_target("consuls://consul/", "registry") == "consuls://consul/muster-registry"
    assert lookup_target("127.0.0.1:7171", "registry") == "127.0.0.1:7171"


def test_a_directory_that_is_away_is_a_mesh_that_is_away():
    assert places_of("consul://127.0.0.1:1/muster-scheduler") == "127.0.0.1:1"


@pytest.mark.parametrize(
    "target", ["consul://:secret@h:1/muster-x", "consul:///muster-x", "consul://h"]
)
def test_a_directory_that_is_none_is_refused_without_telling_a_token(target: str):
    with pytest.raises(ValueError, match="is not like consul://host:8500") as caught:
        places_of(target)
    assert "secret" not in str(caught.value)


def test_only_addresses_of_one_kind_make_one_target():
    assert one_target([]) == ""
    assert one_target(["[::1]:1", "10.0.0.2:1", "10.0.0.1:1"]) == "10.0.0.1:1,10.0.0.2:1"
    assert one_target(["[::1]:1"]) == "[::1]:1"
