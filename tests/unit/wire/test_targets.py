"""Several places as one gRPC target."""

import pytest

from muster.wire.targets import channel_target


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
