"""A database as a busy installation has it after years, made up: jobs, results, experiments, epochs."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from bench.workload import build_spec
from models.documents import merge_patch
from models.experiments import ExperimentSpec
from models.settings import Settings
from models.states import JobState
from models.store.database import Database
from models.store.tables import Epoch, Event, Experiment, Job, JobLabel, JobTechnique, Result, Run
from tests.factories import result_record

EPOCHS = 100
_SEEDS = 20
_VARIANTS = 5
_ROWS_A_STATEMENT = 10_000
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_SECONDS_APART = 30
_RARE = 1_000
"""One job in so many has the rare label and the rare technique."""
_STATES = (*[JobState.SUCCEEDED] * 90, *[JobState.FAILED] * 5, *[JobState.CANCELLED] * 5)
_PAUSED = 20
"""One experiment in so many is half paused."""
_TECHNIQUES: tuple[dict[str, Any], ...] = (
    {},
    {"dropout": {"rate": 0.5}},
    {"l2": {"factor": 1e-4}},
    {"dropout": {"rate": 0.3}, "batch_normalization": {}},
    {"max_norm": {}},
)
_RARE_TECHNIQUE = {"mixup": {"alpha": 0.2}}
_INSERT_EPOCHS = """
    INSERT INTO epochs (job_id, epoch, attempt, objective, penalty, batch_accuracy, train_loss,
        train_accuracy, validation_loss, validation_accuracy, weight_norm, learning_rate, seconds)
    SELECT jobs.id, step.epoch, 1, 0.5 / step.epoch, 0.0, 0.9, 0.4 / step.epoch, 0.92, 0.45 / step.epoch,
        0.91, 10.0 + step.epoch, 0.001, 1.5
    FROM (SELECT job_id AS id FROM results ORDER BY job_id LIMIT :jobs) AS jobs, {steps}
    ORDER BY jobs.id, step.epoch
"""
_STEPS = {
    "sqlite": "(WITH RECURSIVE n(epoch) AS (SELECT 1 UNION ALL SELECT epoch + 1 FROM n WHERE epoch < 100) "
    "SELECT epoch FROM n) AS step",
    "postgresql": "generate_series(1, 100) AS step(epoch)",
}
# A database that was filled over years is vacuumed; one just filled would do it during the measurement.
_MAINTENANCE = {
    "sqlite": ["ANALYZE"],
    "postgresql": ["SET statement_timeout = 0", "VACUUM (ANALYZE)", "CHECKPOINT"],
}
_BASE = build_spec("mnist").model_dump(mode="json")
_DOCUMENT = ExperimentSpec.model_validate(
    {
        "name": "large",
        "base": _BASE,
        "variants": [
            # Pairs that differ, as an experiment's must; its jobs have changes of their own.
            {"name": f"variant {variant}", "changes": {"training": {"epochs": EPOCHS + variant}}}
            for variant in range(_VARIANTS)
        ],
        "seeds": list(range(_SEEDS)),
        "baseline": "variant 0",
        "allow_confounders": True,
    }
).model_dump(mode="json")


@dataclass(frozen=True)
class LargeDatabase:
    """What can be requested of it."""

    finished_job: str
    """Has a history of EPOCHS epochs."""
    experiment: str
    rare_label: str


def fill(url: str, *, jobs: int, epochs: int, copies: int = 1) -> LargeDatabase:
    """Store `jobs` jobs, most of them finished, and `epochs` epochs of the first ones that are.

    With `copies`, of PostgreSQL only, all of that so many times, in a tenth of the time.
    """
    database = Database(Settings().model_copy(update={"database_url": url}))
    dialect = database.engine.dialect.name
    generator = np.random.default_rng(0)
    rows = [build_job(index) for index in range(jobs)]
    with database.write() as session:
        experiments = math.ceil(jobs / (_SEEDS * _VARIANTS))
        _insert(session, Experiment, (_build_experiment(index) for index in range(experiments)))
        _insert(session, Job, rows)
        succeeded = (row for row in rows if row["state"] is JobState.SUCCEEDED)
        _insert(session, Result, (_build_result(row, generator) for row in succeeded))
        parts: dict[type, list[dict[str, Any]]] = {JobTechnique: [], JobLabel: [], Event: [], Run: []}
        queued = {"type": "queued", "to_state": JobState.QUEUED, "attempt": 0, "detail": {}}
        for row in rows:
            part = {"job_id": row["id"], "created_at": row["created_at"]}
            parts[JobTechnique] += [part | {"technique": name} for name in row["spec"]["regularization"]]
            parts[JobLabel] += [part | {"name": name, "value": row["labels"][name]} for name in row["labels"]]
            parts[Event].append(queued | {"job_id": row["id"], "at": row["created_at"]})
            placed = {name: row[name] for name in ("experiment_id", "variant", "seed")}
            parts[Run].append(placed | {"job_id": row["id"], "reused": False})
        for table, entries in parts.items():
            _insert(session, table, entries)
    with database.write() as session:
        if dialect == "postgresql":
            session.execute(text("SET LOCAL statement_timeout = 0"))
        query = _INSERT_EPOCHS.format(steps=_STEPS[dialect])
        session.execute(text(query), {"jobs": epochs // EPOCHS})
        if copies > 1:
            _copy_all(session, copies, seconds=_SECONDS_APART * jobs)
    with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for statement in _MAINTENANCE[dialect]:
            connection.execute(text(statement))
    with database.read() as session:
        finished = session.execute(text("SELECT job_id FROM epochs LIMIT 1")).scalar_one()
    database.close()
    return LargeDatabase(finished, f"exp_{0:024x}", f"case={_RARE}")


def _copy_all(session: Session, copies: int, *, seconds: int) -> None:
    """Copy each row under ids of its own, each copy `seconds` after the one before."""
    for table in (Experiment, Job, Result, JobTechnique, JobLabel, Event, Run, Epoch):
        columns = {column.name: column.name for column in table.__table__.columns}
        if table is Event:
            del columns["id"]  # numbered by the database
        for name in columns:
            if name in ("id", "job_id", "experiment_id"):
                columns[name] = f"left({name}, 4) || lpad(to_hex(copy), 4, '0') || substr({name}, 9)"
            elif name == "spec_hash":
                columns[name] = "lpad(to_hex(copy), 4, '0') || substr(spec_hash, 5)"
            elif name.endswith("_at") or name in ("at", "run_after"):
                columns[name] = f"{name} + copy * interval '{seconds} seconds'"
        name, into, values = table.__tablename__, ", ".join(columns), ", ".join(columns.values())
        copied = f"SELECT {values} FROM {name}, generate_series(1, {copies - 1}) AS copies(copy)"  # noqa: S608 (our own names)
        session.execute(text(f"INSERT INTO {name} ({into}) {copied}"))


def build_job(index: int) -> dict[str, Any]:
    """A row of the table of jobs; `index` says which states and parts it has."""
    experiment, position = divmod(index, _SEEDS * _VARIANTS)
    rare = index % _RARE == 0
    regularization = _RARE_TECHNIQUE if rare else _TECHNIQUES[index % len(_TECHNIQUES)]
    seed = index % _SEEDS
    # Mixed within an experiment, but paused jobs are together.
    paused = experiment % _PAUSED == 1 and position % 2
    state = JobState.PAUSED if paused else _STATES[index * 7 % len(_STATES)]
    created_at = _FIRST + timedelta(seconds=_SECONDS_APART * index)
    done, failed = state is JobState.SUCCEEDED, state is JobState.FAILED
    return {
        "id": f"job_{index:024x}",
        "spec": merge_patch(_BASE, {"regularization": regularization}) | {"seed": seed},
        "spec_hash": f"{index:064x}",
        "labels": {"case": str(_RARE if index % _RARE == 1 else index % 10)},
        "dataset": ("mnist", "mnist_5k", "fashion_mnist")[index % 3],
        "experiment_id": f"exp_{experiment:024x}",
        "variant": f"variant {position // _SEEDS}",
        "seed": seed,
        "state": state,
        "priority": 0,
        "run_after": created_at,
        "attempt": 1,
        "epochs": EPOCHS,
        "epochs_done": EPOCHS if done else 3,
        "fraction": 1.0 if done else 0.03,
        "version": 300,
        "created_at": created_at,
        "started_at": created_at,
        "finished_at": created_at + timedelta(minutes=5) if state.terminal else None,
        "error_code": "diverged" if failed else None,
        "error_message": "The loss is not a number." if failed else None,
        "error_retryable": False if failed else None,
    }


def _build_result(row: dict[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    accuracy = float(generator.normal(0.97, 0.01))
    record = result_record(test_accuracy=accuracy, test_loss=1 - accuracy, epochs_run=EPOCHS)
    return asdict(record) | {"job_id": row["id"]}


def _build_experiment(index: int) -> dict[str, Any]:
    return {
        "id": f"exp_{index:024x}",
        "name": f"experiment {index}",
        "document": _DOCUMENT,
        "created_at": _FIRST + timedelta(seconds=_SECONDS_APART * _SEEDS * _VARIANTS * index),
    }


def _insert(session: Session, table: type, rows: Iterable[dict[str, Any]]) -> None:
    remaining = iter(rows)
    while chunk := list(islice(remaining, _ROWS_A_STATEMENT)):
        session.execute(insert(table), chunk)
