import socket
from pathlib import Path

import pytest

from muster.backends.pool_subprocess.kept import EXIT_MISCONFIGURED, pause_seconds
from muster.backends.pool_subprocess.pool import JOB_VARIABLE
from muster.model import limits
from muster.runtime import entry
from muster.runtime.config import PORTS, Role, load_config
from muster.supervisor.finding import find_data_dir, find_metadata
from muster.supervisor.plan import (
    Plan,
    Refused,
    choose_ports,
    endpoints_of,
    environment_of,
    services_of,
)
from muster.supervisor.words import last_words


def test_the_ports_are_those_that_services_take_when_they_are_told_nothing() -> None:
    (mesh,) = services_of(Plan(Path("/d")))
    assert (mesh.grpc_port, mesh.http_port) == PORTS[Role.ALL]
    for service in services_of(Plan(Path("/d"), separate=True)):
        assert (service.grpc_port, service.http_port) == PORTS[Role(service.name)]


def test_one_number_moves_all_ports() -> None:
    moved = services_of(Plan(Path("/d"), separate=True, port=9000))
    assert sorted(each.grpc_port for each in moved) == [9001, 9002, 9003]
    assert sorted(each.http_port or 0 for each in moved) == [9011, 9012, 9013]


def test_services_read_from_their_environment_what_the_plan_says(tmp_path: Path) -> None:
    plan = Plan(tmp_path, separate=True, port=9000, http=False)
    services = services_of(plan)
    endpoints = endpoints_of(services)
    for service in services:
        told = environment_of(service, endpoints, plan, {"PATH": "/bin", "MUSTER_NAME": "mine"})
        config = load_config(Role(service.name), told)
        assert config.listen.grpc_port == service.grpc_port
        assert config.listen.http_port is None
        assert config.data_dir == tmp_path
        assert config.scheduler_targets == ("127.0.0.1:9002",)
        assert config.registry_targets == ("127.0.0.1:9001",)
        assert config.name == f"mine-{service.name}"
        assert told["PATH"] == "/bin"


def test_in_one_process_every_service_is_at_one_address() -> None:
    endpoints = endpoints_of(services_of(Plan(Path("/d"), port=9000)))
    assert set(endpoints.environment.values()) == {"127.0.0.1:9000"}
    assert str(endpoints) == "127.0.0.1:9000"


def test_free_ports_are_all_different() -> None:
    chosen = choose_ports(services_of(Plan(Path("/d"), separate=True, port=0)))
    ports = {each.grpc_port for each in chosen} | {each.http_port for each in chosen}
    assert len(ports) == 6
    assert 0 not in ports


def test_a_port_in_use_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Refused, match=rf"port {port} is in use: .*\n.*muster up --port"):
            choose_ports(services_of(Plan(Path("/d"), port=port)))


def test_the_data_folder_is_where_services_look_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for environment in ({}, {"XDG_DATA_HOME": "/xdg"}, {"XDG_DATA_HOME": "relative"}):
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert find_data_dir(environment) == load_config(Role.ALL, {}).data_dir
    assert find_data_dir({"MUSTER_DATA_DIR": "/here"}) == Path("/here")


def test_who_calls_is_said_by_the_environment() -> None:
    assert find_metadata({}) == ()
    named = {"MUSTER_TENANT": "acme", "MUSTER_PRINCIPAL": "ann"}
    assert find_metadata(named) == (("muster-tenant", "acme"), ("muster-principal", "ann"))


def test_restarts_come_at_once_at_first_and_ever_more_rarely_after_quick_deaths() -> None:
    pauses = [pause_seconds(deaths) for deaths in range(9)]
    assert pauses[:4] == [0.0, 0.2, 0.4, 0.8]
    assert pauses == sorted(pauses)
    assert pauses[-1] == pause_seconds(10**9) == limits.RESTART_SECONDS_MAX


def test_processes_and_those_who_keep_them_agree_on_what_is_hopeless() -> None:
    from muster.hosting import __main__ as hosting

    assert EXIT_MISCONFIGURED == entry.EXIT_MISCONFIGURED == hosting.EXIT_MISCONFIGURED
    assert JOB_VARIABLE == hosting.JOB_VARIABLE


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], ""),
        (["muster: 127.0.0.1:1 is in use"], "127.0.0.1:1 is in use"),
        (['{"message": "x"}', "muster: two", "lines"], "two\nlines"),
        (
            ['{"message": "the process failed", "exception": "T\\nE: no"}'],
            "the process failed: E: no",
        ),
        (["Traceback", "ValueError: bad"], "ValueError: bad"),
        (["[1]"], "[1]"),
    ],
)
def test_the_last_words_of_a_process_are_those_that_matter(lines: list[str], words: str) -> None:
    assert last_words(lines) == words
