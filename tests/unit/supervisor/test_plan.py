import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from muster.backends.pool_subprocess.kept import EXIT_MISCONFIGURED, pause_seconds
from muster.backends.pool_subprocess.pool import JOB_VARIABLE
from muster.model import limits
from muster.runtime import entry
from muster.runtime.config import PORTS, Role, load_config
from muster.servers.known import KINDS
from muster.supervisor.finding import find_data_dir, find_metadata
from muster.supervisor.plan import (
    PORT_MAX,
    Backend,
    Plan,
    Refused,
    backends_of,
    check_plan,
    endpoints_of,
    environment_of,
    services_of,
    targets_of,
)
from muster.supervisor.ports import choose_ports
from muster.supervisor.words import last_words


def test_the_ports_are_those_that_services_take_when_they_are_told_nothing() -> None:
    (mesh,) = services_of(Plan(Path("/d")))
    assert (mesh.grpc_port, mesh.http_port) == PORTS[Role.ALL]
    for service in services_of(Plan(Path("/d"), separate=True, backends=("temporal",))):
        assert (service.grpc_port, service.http_port) == PORTS[Role(service.name)]


def test_one_number_moves_all_ports() -> None:
    moved = services_of(Plan(Path("/d"), separate=True, port=9000))
    assert sorted(each.grpc_port for each in moved) == [9001, 9002, 9003]
    assert sorted(each.http_port or 0 for each in moved) == [9011, 9012, 9013]


def test_services_read_from_their_environment_what_the_plan_says(tmp_path: Path) -> None:
    plan = Plan(tmp_path, separate=True, port=9000, http=False)
    services = services_of(plan)
    for service in services:
        told = environment_of(
            service, targets_of(services), plan, {"PATH": "/bin", "MUSTER_NAME": "mine"}
        )
        config = load_config(Role(service.name), told)
        assert config.listen.grpc_port == service.grpc_port
        assert config.listen.http_port is None
        assert config.data_dir == tmp_path
        assert config.scheduler_targets == ("127.0.0.1:9002",)
        assert config.registry_targets == ("127.0.0.1:9001",)
        assert config.name == f"mine-{service.name}"
        assert told["PATH"] == "/bin"


def test_temporal_brings_a_worker_of_the_engine_that_follows_every_scheduler(
    tmp_path: Path,
) -> None:
    plan = Plan(tmp_path, port=9000, backends=("temporal",))
    services = services_of(plan)
    assert [each.role for each in services] == ["mesh", "engine"]
    targets = targets_of(services)
    told = environment_of(services[1], targets, plan, {"MUSTER_TEMPORAL": "there:7233/mine"})
    config = load_config(Role.ENGINE, told)
    assert config.scheduler_targets == ("127.0.0.1:9000",)
    assert config.temporal == "there:7233/mine"
    assert targets["engine"] == ["127.0.0.1:9004"]
    plan = Plan(tmp_path, separate=True, replicas=2, backends=("temporal", "postgres"))
    services = services_of(plan)
    engines = [each for each in services if each.role == "engine"]
    assert [each.name for each in engines] == ["engine-1", "engine-2"]
    told = environment_of(engines[1], targets_of(services), plan, {})
    assert load_config(Role.ENGINE, told).scheduler_targets == ("127.0.0.1:7173", "127.0.0.1:7203")


@pytest.mark.parametrize(
    ("named", "where"),
    [("there:7233/mine", "there:7233"), ("temporal://there:1/x", "there:1"), ("", None)],
)
def test_temporal_that_is_there_already_is_not_run(named: str, where: str | None) -> None:
    plan = Plan(Path("/d"), backends=("temporal",))
    (found,) = backends_of(plan, {"MUSTER_TEMPORAL": named})
    assert found.elsewhere == where
    assert bool(found.ports) is (where is None)


def test_in_one_process_every_service_is_at_one_address() -> None:
    endpoints = endpoints_of(services_of(Plan(Path("/d"), port=9000)))
    assert set(endpoints.environment.values()) == {"127.0.0.1:9000"}
    assert str(endpoints) == "127.0.0.1:9000"


def test_free_ports_are_all_different() -> None:
    plan = Plan(Path("/d"), separate=True, port=0, replicas=2, backends=tuple(KINDS))
    services, backends = choose_ports(services_of(plan), backends_of(plan, {}))
    ports = {each.grpc_port for each in services} | {each.http_port for each in services}
    ports |= {port for each in backends for port in each.ports}
    assert len(ports) == 16 + sum(kind.ports for kind in KINDS.values())
    assert not ports & {0, None}


def test_what_one_mesh_chose_no_other_chooses_though_nobody_listens_there_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("muster.supervisor.ports._FREE_PORTS", range(32_000, 32_004))
    monkeypatch.setattr("muster.supervisor.ports._FREE_PORTS_TRIED", 4)
    plan = Plan(Path("/d"), port=0, http=False)
    with ExitStack() as first, ExitStack() as second:
        chosen = [choose_ports(services_of(plan), claims=each)[0][0] for each in (first, second)]
        assert chosen[0].grpc_port != chosen[1].grpc_port
        for _ in range(2):
            choose_ports(services_of(plan), claims=first)
        with pytest.raises(Refused, match="none is free"):
            choose_ports(services_of(plan), claims=second)
    with ExitStack() as third:
        choose_ports(services_of(plan), claims=third)


def test_a_port_in_use_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Refused, match=rf"port {port} is in use: .*\n.*muster up --port"):
            choose_ports(services_of(Plan(Path("/d"), port=port)))


def test_no_two_of_a_mesh_ask_for_one_port() -> None:
    plan = Plan(Path("/d"), True, PORT_MAX, replicas=limits.REPLICAS_MAX, backends=tuple(KINDS))
    ports = [each.grpc_port for each in services_of(plan)]
    ports += [each.http_port or 0 for each in services_of(plan)]
    ports += [port for each in backends_of(plan, {}) for port in each.ports]
    assert len(ports) == len(set(ports))
    assert max(ports) <= 65535


def test_a_server_keeps_its_ports_whichever_others_run() -> None:
    alone = backends_of(Plan(Path("/d"), backends=("consul",)), {})
    with_others = backends_of(Plan(Path("/d"), backends=tuple(KINDS)), {})
    assert alone == [each for each in with_others if each.name == "consul"]
    assert [each.name for each in with_others] == list(KINDS)


@pytest.mark.parametrize(
    ("variable", "url", "address"),
    [
        ("MUSTER_LEDGER", "postgresql://ann:pass@db.example:6543/muster", "db.example:6543"),
        ("MUSTER_LEDGER", "postgresql://db.example/muster", "db.example:5432"),
        ("MUSTER_LEDGER", "postgres://[::1]/muster", "[::1]:5432"),
        ("MUSTER_BUS", "nats://one:4333,nats://two:4222", "one:4333"),
        ("MUSTER_DIRECTORY", "consul://127.0.0.1:8500", "127.0.0.1:8500"),
    ],
)
def test_a_server_that_the_environment_names_is_not_started(
    variable: str, url: str, address: str
) -> None:
    (name,) = [kind.name for kind in KINDS.values() if kind.variable == variable]
    plan = Plan(Path("/d"), backends=(name,))
    assert backends_of(plan, {variable: url}) == [Backend(name, (), address)]


def test_an_embedded_backend_that_the_environment_names_is_no_server() -> None:
    plan = Plan(Path("/d"), backends=("postgres",))
    (backend,) = backends_of(plan, {"MUSTER_LEDGER": "sqlite:///ledger.db"})
    assert backend.elsewhere is None
    assert len(backend.ports) == 1


def test_every_one_of_several_knows_all_others(tmp_path: Path) -> None:
    plan = Plan(tmp_path, separate=True, port=9000, replicas=2, backends=("postgres",))
    services = services_of(plan)
    assert [each.name for each in services] == [
        *("scheduler-1", "scheduler-2", "registry-1", "registry-2", "executor-1", "executor-2")
    ]
    names = set()
    for service in services:
        shared = {"MUSTER_HEALTH_PORT": "7170"}  # one port cannot be everybody's
        told = environment_of(service, targets_of(services), plan, shared)
        config = load_config(Role(service.role), told)
        assert config.listen.health_port is None
        assert config.scheduler_targets == ("127.0.0.1:9002", "127.0.0.1:9032")
        assert config.registry_targets == ("127.0.0.1:9001", "127.0.0.1:9031")
        names.add(config.name)
    assert len(names) == len(services)
    assert endpoints_of(services).scheduler == "127.0.0.1:9002,127.0.0.1:9032"


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(Path("/d"), True, replicas=2), "cannot share the embedded ledger.*--with postgres"),
        (Plan(Path("/d"), replicas=2, backends=("postgres",)), "add: --separate"),
        (Plan(Path("/d"), True, replicas=0), "1 to 8 of each service, not 0"),
        (Plan(Path("/d"), True, replicas=9, backends=("postgres",)), "1 to 8 .* not 9"),
        (Plan(Path("/d"), backends=("redis",)), "no server 'redis' .* there is postgres, nats,"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(plan: Plan, message: str) -> None:
    with pytest.raises(Refused, match=message):
        check_plan(plan, {})


def test_several_stand_on_a_ledger_that_the_environment_names() -> None:
    plan = Plan(Path("/d"), separate=True, replicas=2)
    check_plan(plan, {"MUSTER_LEDGER": "postgresql://db.example/muster"})


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
    from muster.hosting import running

    assert EXIT_MISCONFIGURED == entry.EXIT_MISCONFIGURED == running.EXIT_MISCONFIGURED
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
