"""`regbench doctor` on an installation that is really broken in twelve ways: each has a finding and a fix."""

import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import uvicorn
from redis import Redis

from models.settings import Settings
from regbench.local import doctor
from regbench.local.doctor import CHECKS, Finding, Health, examine
from tests import servers
from tests.applications import application

HOME, DATASETS, DATABASE = "the home folder", "the datasets", "the database"


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[str, SimpleNamespace]]:
    """The API on a port of this machine; yields its address and its state."""
    app = application(settings)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", SimpleNamespace(readiness_check=app.state.readiness_check)
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
def test_doctor_finds_twelve_faults_and_says_their_fixes(
    database_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("REGBENCH_API_KEY", raising=False)
    found: dict[str, tuple[Finding, str]] = {}

    (tmp_path / "empty.db").touch()
    newer, damaged = tmp_path / "newer.db", tmp_path / "data" / "mnist.npz"
    newer.write_bytes((tmp_path / "regbench.db").read_bytes())
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999', oldest_code = '9999'")
    damaged.parent.mkdir()
    damaged.write_bytes(b"damaged")
    unmigrated, nowhere = f"sqlite:///{tmp_path / 'empty.db'}", "sqlite:////no/such/folder/regbench.db"
    hour_later = time.time() + 3_600
    clock, minimum = (doctor.time, "time", lambda: hour_later), (doctor, "MIN_DISK_BYTES", 10**18)
    monkeypatch.setattr(doctor, "LOW_DISK_BYTES", 10**18)
    for fault, area, name, fix, changes, patched in (
        ("unmigrated", DATABASE, "database", "python -m migrations", {"database_url": unmigrated}, None),
        (
            "newer",
            DATABASE,
            "database",
            "pip install --upgrade",
            {"database_url": f"sqlite:///{newer}"},
            None,
        ),
        ("wrong URL", DATABASE, "database", "REGBENCH_DATABASE_URL", {"database_url": nowhere}, None),
        ("clock", DATABASE, "clock", "synchronize", {}, clock),
        ("home", HOME, "home folder", "REGBENCH_HOME", {"home": tmp_path / "regbench.db"}, None),
        ("disk", HOME, "disk space", "regbench prune", {}, minimum),
        ("dataset", DATASETS, "dataset mnist", f"rm {damaged}", {"data_dir": damaged.parent}, None),
    ):
        with monkeypatch.context() as patch:
            if patched:
                patch.setattr(*patched)
            findings = CHECKS[area](database_settings.model_copy(update=changes))
            found[fault] = next(finding for finding in findings if finding.name == name), fix

    monkeypatch.setattr(doctor, "CHECKS", {})

    def check_service(fault: str, url: str, name: str, fix: str) -> None:
        findings = examine(database_settings, url, lambda _: None)
        found[fault] = next(finding for finding in findings if finding.name == name), fix

    with monkeypatch.context() as patch, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        patch.setattr(doctor, "_SERVICE_SECONDS", 0.3)
        check_service("port", f"http://127.0.0.1:{other.getsockname()[1]}", "service", "regbench up --port")

    with servers.redis() as path, Redis(unix_socket_path=str(path)) as redis:
        broker = {"broker_url": f"redis+socket://{path}", "api_keys_required": "true"}
        with serving(database_settings.model_copy(update=broker)) as (url, state):
            check_service("no worker", url, "service: worker", "start a worker")
            check_service("no key", url, "service: your key", "REGBENCH_API_KEY")
            redis.replicaof("127.0.0.1", 1)
            state.readiness_check._expires_at = 0.0
            check_service("read-only Redis", url, "service: broker", "REGBENCH_BROKER_URL")
            redis.shutdown(nosave=True)
            state.readiness_check._expires_at = 0.0
            check_service("no Redis", url, "service: broker", "start Redis")

    missed = {
        fault: finding
        for fault, (finding, fix) in found.items()
        if finding.health is not Health.FAULT or fix not in finding.fix
    }
    assert missed == {}
    assert len(found) == 12
