"""What the machine remembers of the platform."""

import socket

import pytest

from healthcloud.runtime import local
from healthcloud.runtime.ports import free_port, is_free


def test_local_json_is_replaced_whole_and_private(tmp_path) -> None:
    local.write_state(tmp_path, {"base_url": "http://127.0.0.1:8000", "ready": False})
    local.update_state(tmp_path, ready=True)
    assert local.read_state(tmp_path) == {"base_url": "http://127.0.0.1:8000", "ready": True}
    assert local.state_path(tmp_path).stat().st_mode & 0o777 == 0o600


def test_one_supervisor_a_home(tmp_path) -> None:
    with local.lock_home(tmp_path), pytest.raises(local.AlreadyRunning, match="HEALTHCLOUD_HOME"):
        local.lock_home(tmp_path)
    assert local.supervisor_pid(tmp_path) is None


def test_ports_are_remembered_while_they_are_free(tmp_path) -> None:
    port = local.remembered_port(tmp_path, "postgres")
    assert local.remembered_port(tmp_path, "postgres") == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert not is_free(port)
        assert local.remembered_port(tmp_path, "postgres") != port


def test_free_ports_are_free() -> None:
    assert is_free(free_port())


def test_stopping_what_does_not_run_says_so(tmp_path) -> None:
    assert local.stop_supervisor(tmp_path) is False


def test_a_command_reaches_the_platform_that_runs_from_its_home(tmp_path) -> None:
    local.write_state(tmp_path, {"database_admin_url": "postgresql://x", "valkey_url": "redis://y"})
    (tmp_path / "postgres-password").write_text("p")
    (tmp_path / "secret-key").write_text("k\n")
    environment: dict[str, str] = {}
    local.join_running(tmp_path, environment)
    assert environment == {}
    with local.lock_home(tmp_path):
        local.join_running(tmp_path, environment)
        own = {"DATABASE_URL": "postgresql://own"}
        local.join_running(tmp_path, own)
    assert environment == {
        "DATABASE_URL": "postgresql://x",
        "VALKEY_URL": "redis://y",
        "HEALTHCLOUD_SECRET_KEY": "k",
    }
    assert own == {"DATABASE_URL": "postgresql://own"}
