from pathlib import Path

import pytest

from muster.model import limits
from muster.runtime.config import PORTS, ConfigError, Role, default_config, load_config
from muster.runtime.directories import directory_of
from muster.runtime.network import join_address, require_loopback


@pytest.mark.parametrize("role", Role)
def test_an_empty_environment_gives_the_defaults_of_the_role(role: Role):
    config = load_config(role, {})
    assert config == default_config(role)
    assert (config.listen.grpc_port, config.listen.http_port) == PORTS[role]
    assert config.timers.lease_seconds == limits.LEASE_SECONDS


def test_each_field_is_set_by_the_variable_of_its_name():
    config = load_config(
        Role.EXECUTOR,
        {
            "MUSTER_GRPC_PORT": "0",
            "MUSTER_HTTP_PORT": "none",
            "MUSTER_HEARTBEAT_SECONDS": "0.5",
            "MUSTER_LOG_FORMAT": "json",
            "MUSTER_DATA_DIR": "somewhere",
            "MUSTER_SCHEDULER_TARGETS": "one:1, two:2,",
            "MUSTER_UNRELATED": "x",
        },
    )
    assert config.listen.grpc_port == 0
    assert config.listen.http_port is None
    assert config.timers.lease_seconds == 0.5 * limits.LEASE_PERIODS
    assert config.logs.log_format == "json"
    assert config.data_dir == Path("somewhere")
    assert config.scheduler_targets == ("one:1", "two:2")


def test_every_mistake_is_named_by_its_variable():
    with pytest.raises(ConfigError) as caught:
        load_config(Role.ALL, {"MUSTER_GRPC_PORT": "70000", "MUSTER_SWEEP_SECONDS": "nan"})
    assert "MUSTER_GRPC_PORT: " in str(caught.value)
    assert "MUSTER_SWEEP_SECONDS: " in str(caught.value)


def test_two_processes_of_one_machine_have_different_names():
    names = {
        load_config(Role.EXECUTOR, {"MUSTER_GRPC_PORT": port}).name for port in ("7174", "7274")
    }
    assert len(names) == 2
    assert load_config(Role.EXECUTOR, {"MUSTER_NAME": "east-1"}).name == "east-1"


def test_data_goes_where_xdg_says(monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_config(Role.ALL).data_dir == Path("/data/muster")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_config(Role.ALL).data_dir == Path.home() / ".local/share/muster"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1"])
def test_loopback_may_be_listened_on(host: str):
    require_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_anything_else_is_refused_because_there_is_no_tls(host: str):
    with pytest.raises(ConfigError, match="TLS"):
        require_loopback(host)


def test_addresses_are_written_as_grpc_reads_them():
    assert join_address("127.0.0.1", 7171) == "127.0.0.1:7171"
    assert join_address("::1", 7171) == "[::1]:7171"


def test_request_ids_are_remembered_for_a_day_at_least() -> None:
    assert load_config(Role.ALL, {"MUSTER_RETENTION_SECONDS": "86400"}).retention_seconds == 86400
    with pytest.raises(ConfigError, match="MUSTER_RETENTION_SECONDS"):
        load_config(Role.ALL, {"MUSTER_RETENTION_SECONDS": "3600"})


@pytest.mark.parametrize(
    "url",
    [
        "sqlite",
        "postgresql://ann:p%40ss@db.example:5432/muster?sslmode=require",
        "postgres:///muster",
        "postgresql://one:5432,two:5433/muster",
    ],
)
def test_the_ledger_is_embedded_or_a_database(url: str):
    assert load_config(Role.SCHEDULER, {}).ledger == "sqlite"
    assert load_config(Role.SCHEDULER, {"MUSTER_LEDGER": url}).ledger == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://ann:secret@db/muster", "neither"),
        ("postgresql://ann:secret@db:99999/muster", "neither"),
        ("postgresql://ann:secret@[db/muster", "neither"),
        ("postgresql://ann:secret@db", "names no database"),
        ("", "neither"),
    ],
)
def test_a_ledger_that_is_none_is_refused_without_telling_the_password(url: str, said: str):
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(Role.SCHEDULER, {"MUSTER_LEDGER": url})
    assert "MUSTER_LEDGER: " in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "url"),
    [("MUSTER_LEDGER", "postgresql://ann:secret@db/muster"), ("MUSTER_BUS", "nats://n:secret@bus")],
)
def test_what_has_a_password_may_be_in_a_file(tmp_path: Path, variable: str, url: str):
    file = tmp_path / "told"
    file.write_text(f"{url}\n")
    config = load_config(Role.SCHEDULER, {variable: f"file:{file}"})
    assert url in (config.ledger, config.bus)
    assert "secret" not in repr(config)
    file.write_text("secret")
    with pytest.raises(ConfigError, match=f"{variable}: .*neither") as caught:
        load_config(Role.SCHEDULER, {variable: f"file:{file}"})
    assert "secret" not in str(caught.value)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=f"{variable}: .*holds no text"):
        load_config(Role.SCHEDULER, {variable: f"file:{file}"})
    file.unlink()
    with pytest.raises(ConfigError, match=f"{variable}: .*cannot be read: No such file"):
        load_config(Role.SCHEDULER, {variable: f"file:{file}"})


def test_a_configuration_does_not_show_the_ledgers_password():
    config = load_config(Role.SCHEDULER, {"MUSTER_LEDGER": "postgresql://ann:secret@db/muster"})
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    "url", ["", "consul://127.0.0.1:8500", "consul://consul", "consuls://[::1]:8501"]
)
def test_the_directory_is_embedded_or_consul(url: str):
    assert load_config(Role.SCHEDULER, {}).directory == ""
    assert load_config(Role.SCHEDULER, {"MUSTER_DIRECTORY": url}).directory == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("etcd://127.0.0.1:2379", "neither empty nor like consul://"),
        ("consul://", "neither"),
        ("consul://host:99999", "neither"),
        ("consul://host:8500/v1", "neither"),
        ("consul://:secret@host:8500", "MUSTER_DIRECTORY_TOKEN"),
    ],
)
def test_a_directory_that_is_none_is_refused_without_telling_a_token(url: str, said: str):
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(Role.SCHEDULER, {"MUSTER_DIRECTORY": url})
    assert "MUSTER_DIRECTORY: " in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_configuration_does_not_show_the_directorys_token():
    config = load_config(Role.SCHEDULER, {"MUSTER_DIRECTORY_TOKEN": "secret"})
    assert config.directory_token == "secret"
    assert "secret" not in repr(config)


def test_with_a_directory_only_named_targets_are_dialled():
    told = {"MUSTER_DIRECTORY": "consul://127.0.0.1:8500"}
    config = load_config(Role.EXECUTOR, told)
    assert config.scheduler_targets == config.registry_targets == ()
    config = load_config(Role.EXECUTOR, told | {"MUSTER_SCHEDULER_TARGETS": "a:1,b:2"})
    assert config.scheduler_targets == ("a:1", "b:2")
    assert load_config(Role.EXECUTOR, {}).scheduler_targets == ("127.0.0.1:7173",)


@pytest.mark.parametrize("host", ["consul.example", "10.0.0.1"])
def test_a_token_is_not_sent_in_clear_to_another_machine(host: str):
    told = {"MUSTER_DIRECTORY": f"consul://{host}:8500", "MUSTER_DIRECTORY_TOKEN": "secret"}
    with pytest.raises(ConfigError, match="in clear") as caught:
        directory_of(load_config(Role.SCHEDULER, told))
    assert "secret" not in str(caught.value)
    directory_of(load_config(Role.SCHEDULER, told | {"MUSTER_DIRECTORY": f"consuls://{host}"}))
    directory_of(load_config(Role.SCHEDULER, told | {"MUSTER_DIRECTORY": "consul://localhost"}))


@pytest.mark.parametrize(
    "urls", ["", "nats://127.0.0.1:4222", "nats://one:4333, nats://two", "tls://ann:pw@bus:4222"]
)
def test_the_bus_is_embedded_or_one_of_nats(urls: str):
    assert load_config(Role.SCHEDULER, {"MUSTER_BUS": urls}).bus == urls
    assert "pw" not in repr(load_config(Role.SCHEDULER, {"MUSTER_BUS": urls}))


@pytest.mark.parametrize(
    "urls", ["kafka://ann:secret@bus", "nats://", "nats://ann:secret@bus:99999", "nats://one,", "x"]
)
def test_a_bus_that_is_none_is_refused_without_telling_the_password(urls: str):
    with pytest.raises(ConfigError, match="MUSTER_BUS: is neither") as caught:
        load_config(Role.SCHEDULER, {"MUSTER_BUS": urls})
    assert "secret" not in str(caught.value)
