"""A database as a busy installation has it after years, made up: jobs, results, experiments, epochs."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from bench.workload import seed_spec
from models.experiments import merge_patch
from models.settings import Settings
from models.states import JobState
from models.store.database import Database
from models.store.tables import LOCAL_OWNER, Event, Experiment, Job, JobLabel, JobTechnique, Result, Run
from tests.factories import result_record

EPOCHS = 100
_SEEDS = 20
_VARIANTS = 5
_ROWS_AT_ONCE = 10_000
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_SECONDS_APART = 30
_RARE = 1_000
"""One job in so many has the rare label and the rare technique."""

_STATES = (*[JobState.SUCCEEDED] * 90, *[JobState.FAILED] * 5, *[JobState.CANCELLED] * 5)
_UNFINISHED = 20
"""One experiment in so many is half paused."""
_TECHNIQUES: tuple[dict[str, Any], ...] = (
    {},
    {"dropout": {"rate": 0.5}},
    {"l2": {"factor": 1e-4}},
    {"dropout": {"rate": 0.3}, "batch_normalization": {}},
    {"max_norm": {}},
)
_RARE_TECHNIQUE = {"mixup": {"alpha": 0.2}}

_EPOCHS_OF = """
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


def _state(number: int) -> JobState:
    """Mixed within an experiment, but those that wait stand together, as somebody paused them."""
    experiment, place = divmod(number, _SEEDS * _VARIANTS)
    if experiment % _UNFINISHED == 1 and place % 2:
        return JobState.PAUSED
    return _STATES[number * 7 % len(_STATES)]


# A database that was filled over years is tidy; one just filled would tidy up while it is measured.
_TIDY = {
    "sqlite": ["ANALYZE"],
    "postgresql": ["SET statement_timeout = 0", "VACUUM (ANALYZE)", "CHECKPOINT"],
}


@dataclass(frozen=True)
class Crowd:
    """What there is to ask for."""

    finished_job: str
    """Has a history of EPOCHS epochs."""
    experiment: str
    rare_label: str


def fill(url: str, *, jobs: int, epochs: int) -> Crowd:
    """Store `jobs` jobs, most of them finished, and `epochs` epochs of the first ones that are."""
    database = Database(Settings().model_copy(update={"database_url": url}))
    generator = np.random.default_rng(0)
    results = [_Made(index) for index in range(jobs)]
    experiments = range(math.ceil(jobs / (_SEEDS * _VARIANTS)))
    with database.write() as session:
        _add(session, Experiment, (_experiment(experiment) for experiment in experiments))
        _add(session, Job, (item.row() for item in results))
        _add(session, Result, (item.result(generator) for item in results if item.succeeded))
        _add(session, JobTechnique, (row for item in results for row in item.techniques()))
        _add(session, JobLabel, (item.label() for item in results))
        _add(session, Event, (item.event() for item in results))
        _add(session, Run, (item.run() for item in results))
    with database.write() as session:
        # The service's own limit is for what people ask.
        if database.engine.dialect.name == "postgresql":
            session.execute(text("SET LOCAL statement_timeout = 0"))
        steps = _STEPS[database.engine.dialect.name]
        session.execute(text(_EPOCHS_OF.format(steps=steps)), {"jobs": epochs // EPOCHS})
    with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for statement in _TIDY[database.engine.dialect.name]:
            connection.execute(text(statement))
    with database.read() as session:
        finished = session.execute(text("SELECT job_id FROM epochs LIMIT 1")).scalar_one()
    database.close()
    return Crowd(finished, _experiment_id(0), f"case={_RARE}")


class _Made:
    """The job of one number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.id = f"job_{number:024x}"
        self.created_at = _FIRST + timedelta(seconds=_SECONDS_APART * number)
        rare = number % _RARE == 0
        self.regularization = _RARE_TECHNIQUE if rare else _TECHNIQUES[number % len(_TECHNIQUES)]
        self.state = _state(number)
        self.succeeded = self.state is JobState.SUCCEEDED
        self.spec = _spec(self.regularization, number)

    def row(self) -> dict[str, Any]:
        experiment, place = divmod(self.number, _SEEDS * _VARIANTS)
        ended = self.created_at + timedelta(minutes=5)
        return {
            "id": self.id,
            "owner": LOCAL_OWNER,
            "name": None,
            "spec": self.spec,
            "spec_hash": f"{self.number:064x}",
            "labels": {"case": str(self._case())},
            "dataset": ("mnist", "mnist_5k", "fashion_mnist")[self.number % 3],
            "experiment_id": _experiment_id(experiment),
            "variant": f"variant {place // _SEEDS}",
            "seed": self.spec["seed"],
            "state": self.state,
            "priority": 0,
            "run_after": self.created_at,
            "attempt": 1,
            "epochs": EPOCHS,
            "epochs_done": EPOCHS if self.succeeded else 3,
            "fraction": 1.0 if self.succeeded else 0.03,
            "version": 300,
            "created_at": self.created_at,
            "started_at": self.created_at,
            "finished_at": ended if self.state.terminal else None,
            "error_code": "diverged" if self.state is JobState.FAILED else None,
            "error_message": "The loss is not a number." if self.state is JobState.FAILED else None,
            "error_retryable": False if self.state is JobState.FAILED else None,
        }

    def result(self, generator: np.random.Generator) -> dict[str, Any]:
        accuracy = float(generator.normal(0.97, 0.01))
        record = result_record(test_accuracy=accuracy, test_loss=1 - accuracy, epochs_run=EPOCHS)
        return asdict(record) | {"job_id": self.id}

    def techniques(self) -> Iterator[dict[str, Any]]:
        for name in self.regularization:
            yield {"job_id": self.id, "technique": name, "created_at": self.created_at}

    def label(self) -> dict[str, Any]:
        case = {"name": "case", "value": str(self._case())}
        return case | {"job_id": self.id, "created_at": self.created_at}

    def event(self) -> dict[str, Any]:
        return {
            "job_id": self.id,
            "at": self.created_at,
            "type": "queued",
            "from_state": None,
            "to_state": JobState.QUEUED,
            "attempt": 0,
            "detail": {},
        }

    def run(self) -> dict[str, Any]:
        experiment, place = divmod(self.number, _SEEDS * _VARIANTS)
        return {
            "experiment_id": _experiment_id(experiment),
            "variant": f"variant {place // _SEEDS}",
            "seed": place % _SEEDS,
            "job_id": self.id,
            "reused": False,
        }

    def _case(self) -> int:
        return _RARE if self.number % _RARE == 1 else self.number % 10


def _spec(regularization: dict[str, Any], number: int) -> dict[str, Any]:
    whole = merge_patch(_BASE, {"regularization": regularization})
    return whole | {"seed": number % _SEEDS}


_BASE = seed_spec("mnist").model_dump(mode="json")
_DOCUMENT = {
    "name": "crowd",
    "base": _BASE,
    "variants": [{"name": f"variant {index}", "changes": {}} for index in range(_VARIANTS)],
    "seeds": list(range(_SEEDS)),
    "baseline": "variant 0",
}


def _experiment(number: int) -> dict[str, Any]:
    return {
        "id": _experiment_id(number),
        "owner": LOCAL_OWNER,
        "name": f"crowd {number}",
        "preset": None,
        "document": _DOCUMENT,
        "auto_extending": False,
        "created_at": _FIRST + timedelta(seconds=_SECONDS_APART * _SEEDS * _VARIANTS * number),
    }


def _experiment_id(number: int) -> str:
    return f"exp_{number:024x}"


def _add(session: Session, table: type, rows: Iterator[dict[str, Any]]) -> None:
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _ROWS_AT_ONCE:
            session.execute(insert(table), chunk)
            chunk = []
    if chunk:
        session.execute(insert(table), chunk)
