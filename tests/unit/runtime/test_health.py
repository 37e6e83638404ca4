from muster.runtime.health import Condition, Health


def make_health() -> Health:
    return Health(["a.A", "b.B"])


def test_nothing_serves_before_it_says_so():
    health = make_health()
    assert not health.is_serving()
    assert health.condition("a.A") is Condition.STARTING


def test_the_whole_serves_when_all_its_services_do():
    health = make_health()
    health.set("a.A", Condition.SERVING)
    assert health.is_serving("a.A")
    assert not health.is_serving()
    health.set("b.B", Condition.SERVING)
    assert health.is_serving()


def test_a_service_that_misses_something_does_not_serve_until_it_is_back():
    health = make_health()
    for condition in (Condition.SERVING, Condition.IMPAIRED):
        health.set("a.A", condition)
    assert not health.is_serving("a.A")
    health.set("a.A", Condition.SERVING)
    assert health.is_serving("a.A")


def test_draining_is_final():
    health = make_health()
    health.drain()
    health.set("a.A", Condition.SERVING)
    assert set(health.conditions().values()) == {Condition.DRAINING}


def test_a_service_that_is_not_here_has_no_condition():
    assert make_health().condition("c.C") is None
    assert not make_health().is_serving("c.C")
