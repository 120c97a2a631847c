"""The data of an installation of revision 0006 is preserved by migrations, and is read as before."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import MetaData, Table, select

from migrations import configuration
from models.settings import Settings
from models.store.database import Database
from tests.applications import application
from tests.integration.api.conftest import TestClient

INSTALLATION = Path(__file__).parents[2] / "data" / "installation_34cc155.sql"
RENAMED_COLUMNS = {
    "results": {"portrait": "diagnostics"},
    "jobs": {"priced_flops": "estimated_flops"},
    "experiments": {"growing": "auto_extending"},
}
NEW_COLUMNS: dict[str, dict[str, Any]] = {
    "webhooks": {"base_url": "", "experiments": False},
    "deliveries": {"experiment_id": None},
    "results": {
        "test_ece_debiased": None,
        "temperature": None,
        "test_loss_scaled": None,
        "test_ece_scaled": None,
        "robustness": None,
    },
    "experiments": {
        "extended": False,
        "notes": None,
        "archived": False,
        "labels": {},
        "confirms": None,
        "announced": True,
    },
    "jobs": {
        "notes": None,
        "archived": False,
        "point": "",
        "part": -1,
        "purpose": "judge",
        "request_id": None,
        "pause_after": None,
        "traceparent": None,
        "spec_format": 1,
    },
    "experiment_runs": {"point": "", "part": -1, "purpose": "judge"},
}
Rows = dict[str, list[dict[str, Any]]]


def load_installation(database: Database) -> None:
    """Fill a database of revision 0006."""
    postgresql = database.engine.dialect.name == "postgresql"
    statements = re.findall(r"^INSERT .*;$", INSTALLATION.read_text(), re.MULTILINE)
    if postgresql:
        statements = [re.sub(r"\bX'([0-9a-f]*)'", r"'\\x\1'", statement) for statement in statements]
        statements.insert(0, "SET LOCAL TIME ZONE 'UTC'")
        statements += [
            "SELECT setval(pg_get_serial_sequence('events', 'id'), max(id)) FROM events",
            "SELECT setval(pg_get_serial_sequence('audit_events', 'id'), max(id)) FROM audit_events",
        ]
    with database.engine.begin() as connection:
        driver: Any = connection.connection.driver_connection
        for statement in statements:
            driver.execute(statement)


def read_rows(database: Database) -> Rows:
    """Every row of every table, as the columns are now."""
    names = dict.fromkeys(re.findall(r"^INSERT INTO (\w+)", INSTALLATION.read_text(), re.MULTILINE))
    rows = {}
    with database.engine.connect() as connection:
        for name in names:
            table = Table(name, MetaData(), autoload_with=connection)
            query = select(table).order_by(*table.primary_key)
            rows[name] = [dict(row) for row in connection.execute(query).mappings()]
    return rows


@pytest.fixture
def old_rows(database_settings: Settings, database: Database) -> Rows:
    """The rows of the installation at revision 0006, which is then migrated to the newest."""
    command.downgrade(configuration(), "base")
    command.upgrade(configuration(), "0006")
    load_installation(database)
    rows = read_rows(database)
    database.close()
    command.upgrade(configuration(), "head")
    return rows


@pytest.fixture
def client(old_rows: Rows, database_settings: Settings) -> Iterator[TestClient]:
    """A client of the API over the upgraded installation."""
    with TestClient(application(database_settings)) as client:
        yield client


def find(client: TestClient, collection: str, name: str) -> dict[str, Any]:
    items = client.get(f"/v1/{collection}", params={"limit": 100}).json()["items"]
    [item_id] = [item["id"] for item in items if item["name"] == name]
    document: dict[str, Any] = client.get(f"/v1/{collection}/{item_id}").json()
    return document


def rename(row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in row.items()}


def rename_document(document: dict[str, Any]) -> dict[str, Any]:
    names = {"until": "stopping_rule", "allow_other_changes": "allow_confounders"}
    renamed = rename(document, names)
    if renamed["stopping_rule"] is not None:
        renamed["stopping_rule"] = rename(renamed["stopping_rule"], {"measure": "metric"})
    return renamed


def test_no_row_loses_a_value(old_rows: Rows, database: Database) -> None:
    expected = {
        table: [rename(row, RENAMED_COLUMNS.get(table, {})) | NEW_COLUMNS.get(table, {}) for row in rows]
        for table, rows in old_rows.items()
    }
    for experiment in expected["experiments"]:
        experiment["document"] = rename_document(experiment["document"])
    assert read_rows(database) == expected
    assert {table: len(rows) for table, rows in old_rows.items()} == {
        "api_keys": 2,
        "experiments": 4,
        "jobs": 24,
        "experiment_runs": 22,
        "job_labels": 4,
        "job_techniques": 8,
        "epochs": 30,
        "results": 16,
        "events": 63,
        "webhooks": 3,
        "deliveries": 19,
        "idempotency_keys": 1,
        "audit_events": 4,
        "counters": 5,
    }


def test_going_back_restores_the_old_rows(old_rows: Rows, database: Database) -> None:
    command.downgrade(configuration(), "0006")
    database.close()
    assert read_rows(database) == old_rows


def test_jobs_are_listed_in_their_states(client: TestClient) -> None:
    jobs = client.get("/v1/jobs", params={"limit": 100}).json()["items"]
    states = {job["name"]: job["state"] for job in jobs if job["experiment_id"] is None}
    assert states == {
        "alone": "succeeded",
        "of ann": "succeeded",
        "paused": "paused",
        "cancelled": "cancelled",
        "running": "running",
        "queued": "queued",
        "failed": "failed",  # the older of the two of this name comes last
    }
    labelled = client.get("/v1/jobs", params={"label": "sweep.no=7"}).json()["items"]
    assert [job["name"] for job in labelled] == ["alone"]
    listed = client.get("/v1/jobs", params={"technique": "early_stopping"}).json()["items"]
    assert [job["name"] for job in listed] == ["alone"]


def test_a_finished_job_shows_its_result(client: TestClient) -> None:
    job = find(client, "jobs", "alone")
    assert job["labels"] == {"who": "ann", "sweep.no": "7"}
    assert job["spec"]["regularization"]["early_stopping"]["patience"] == 1
    assert job["started_at"] == "2026-11-28T03:04:09.224000Z"
    result = job["result"]
    assert result["test_accuracy"] == 0.611
    assert result["test_loss"] == 1.2415831089112757
    assert result["weights_sha256"] == "6af6c0547cd11a0bf9f9c6251a15eaeff17be7ad6d89516549df58e231c8800e"
    assert (result["epochs_run"], result["parameters"], result["compilations"]) == (3, 3_190, 2)
    assert result["engine"]["device"] == "CPU (x86_64)"
    assert [layer["name"] for layer in result["layers"]] == ["hidden_1", "logits"]
    assert result["per_class_accuracy"] == [0.92, 0.85, 0.67, 0.67, 0.02, 0.37, 0.78, 0.84, 0.66, 0.33]
    epochs = client.get(f"/v1/jobs/{job['id']}/epochs").json()["items"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    events = client.get(f"/v1/jobs/{job['id']}/events").json()["items"]
    assert [event["to_state"] for event in events] == ["queued", "running", "succeeded"]


def test_what_an_older_release_did_not_record_is_null(client: TestClient) -> None:
    result = find(client, "jobs", "of ann")["result"]
    assert (result["layers"], result["confusion_matrix"], result["engine"]["regbench"]) == (None, None, None)


def test_unfinished_and_failed_jobs_keep_their_progress(client: TestClient) -> None:
    assert find(client, "jobs", "paused")["progress"]["epoch"] == 5
    running = find(client, "jobs", "running")
    assert (running["attempt"], running["progress"]["fraction"]) == (1, 0.5)
    queued = find(client, "jobs", "queued")
    assert (queued["priority"], queued["labels"]) == (5, {"night": "yes"})
    jobs = client.get("/v1/jobs", params={"limit": 100}).json()["items"]
    retry, failed = [job for job in jobs if job["name"] == "failed"]
    assert failed["error"]["code"] == "training_diverged"
    assert (retry["state"], retry["retry_of"]) == ("queued", failed["id"])


def test_experiments_keep_their_runs_and_what_they_reuse(client: TestClient) -> None:
    second = find(client, "experiments", "Dropout and L2")
    assert (second["baseline"], second["progress"]["reused"]) == ("none", 4)
    assert second["best"]["selected_by"] == "validation_loss"
    report = client.get(f"/v1/experiments/{second['id']}/report", params={"format": "json"}).json()
    assert report["complete"]
    assert [variant["name"] for variant in report["variants"]] == ["none", "after 30 % dropout", "l2"]
    assert [seed["reused"] for seed in report["variants"][0]["seeds"]] == [True, True]
    difference = report["contrasts"][0]["differences"]["test_loss"]
    assert difference["n"] == 2
    assert difference["mean"] == pytest.approx(0.018337377405)
    [matrix] = [variant["confusion"] for variant in report["variants"] if variant["name"] == "none"]
    assert sum(map(sum, matrix)) == 2_000


def test_an_auto_extending_experiment_continues_to_extend(client: TestClient) -> None:
    ended = find(client, "experiments", "Until the interval is narrow")
    assert (ended["auto_extending"], ended["spec"]["seeds"]) == (False, [0, 1, 2, 3])
    assert ended["spec"]["allow_confounders"]
    assert ended["spec"]["split_per_seed"] is False
    adding = find(client, "experiments", "Still adding seeds")
    assert adding["auto_extending"]
    assert adding["spec"]["stopping_rule"] == {
        "variant": "noise",
        "metric": "test_accuracy",
        "half_width": 0.5,
        "max_jobs": 40,
    }


def test_webhooks_keys_and_counters_survive(client: TestClient) -> None:
    hooks = client.get("/v1/webhooks").json()["items"]
    assert [hook["url"] for hook in hooks][:2] == [
        "https://hooks.example/regbench",
        "https://gone.example/regbench",
    ]
    deliveries = client.get(f"/v1/webhooks/{hooks[1]['id']}/deliveries").json()["items"]
    assert [(delivery["attempts"], delivery["last_error"]) for delivery in deliveries] == [
        (1, "ConnectError: [Errno 111] Connection refused")
    ]
    keys = client.get("/v1/keys").json()["items"]
    assert {key["name"]: (key["owner"], key["revoked_at"] is None) for key in keys} == {
        "laptop of ann": ("ann", True),
        "old": ("ann", False),
    }
    assert "regbench_trainings_total 18.0" in client.get("/metrics").text
