"""An experiment's rows as JSON documents, and back into another installation under the same ids."""

import json
import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import JSON, Column, LargeBinary, Table, select
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from models.artifacts import get_attempt_folder
from models.bundles import parse_document
from models.documents import Document
from models.errors import Conflict, FieldError, InvalidSpec
from models.experiments import ExperimentSpec
from models.identifiers import ID_PATTERN
from models.records import DiagnosticsRecord, LayerRecord, RobustnessRecord
from models.run_key import NO_PART
from models.spec import STORED, JobSpec
from models.states import JobState
from models.store.experiment_runs import get_runs
from models.store.experiments import get_experiment
from models.store.sql_functions import UtcDateTime
from models.store.tables import Epoch, Event, Experiment, Job, JobTechnique, Result, Run
from models.store.transitions import get_database_now

EXPERIMENT, JOBS, EPOCHS = "experiment.json", "jobs.json", "epochs.json"

_EXPERIMENT_COLUMNS = ("id", "name", "preset", "document", "extended", "created_at")
_JOB_COLUMNS = (
    *("id", "name", "spec", "spec_hash", "dataset", "variant", "seed", "point", "part", "purpose", "state"),
    *("attempt", "crashes", "epochs", "epochs_done", "fraction", "created_at", "started_at", "finished_at"),
    *("error_code", "error_message", "error_retryable", "estimated_flops"),
)
_RUN_COLUMNS = ("variant", "seed", "point", "part", "purpose", "job_id", "reused")
# Paths name files of the installation that trained.
_RESULT_COLUMNS = tuple(
    name for name in [*Result.__table__.columns.keys()] if not name.endswith("_path") and name != "job_id"
)
_EPOCH_COLUMNS = tuple(Epoch.__table__.columns.keys())
_FILES = {"model_path": "model.keras", "predictions_path": "test_predictions.npz"}
_MOST_CHARACTERS = 100_000
_LARGEST = {int: 2**53, float: 1e30}
"""Of numbers: JSON has no larger integers that every reader takes, and squares of larger ones have no sum."""
_SHAPES: dict[str, TypeAdapter[Any]] = {
    "layers": TypeAdapter(list[LayerRecord]),
    "confusion": TypeAdapter(list[list[int]]),
    "diagnostics": TypeAdapter(DiagnosticsRecord),
    "robustness": TypeAdapter(RobustnessRecord),
}
"""Of the JSON columns of results."""


def export_experiment(session: Session, experiment_id: str) -> dict[str, bytes]:
    """The documents of an experiment in which every job has ended; the same rows give the same bytes.

    Keys keep their order, in which a report writes specifications.

    Raises:
        NotFound: there is none of that id.
        Conflict: a job has not ended.
    """
    experiment = get_experiment(session, experiment_id)
    jobs = {run.job.id: run.job for run in get_runs(session, experiment_id)}
    if experiment.auto_extending or not all(JobState(job.state).terminal for job in jobs.values()):
        raise Conflict(f"A job of experiment {experiment_id} has not ended; a bundle is of a finished one.")
    runs = session.scalars(select(Run).where(Run.experiment_id == experiment_id))
    order = (Epoch.job_id, Epoch.epoch)
    epochs = session.scalars(select(Epoch).where(Epoch.job_id.in_(jobs)).order_by(*order))
    documents = {
        EXPERIMENT: _dump(experiment, _EXPERIMENT_COLUMNS)
        | {
            "runs": sorted(
                (_dump(run, _RUN_COLUMNS) for run in runs),
                key=lambda run: json.dumps(run, sort_keys=True),
            )
        },
        JOBS: [_dump_job(jobs[job_id]) for job_id in sorted(jobs)],
        EPOCHS: [_dump(epoch, _EPOCH_COLUMNS) for epoch in epochs],
    }
    return {
        name: (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
        for name, document in documents.items()
    }


def import_experiment(session: Session, files: dict[str, bytes], *, owner: str) -> str:
    """Store the experiment of a bundle with its jobs under their ids; returns its id.

    What is there already with the same content stays as it is.

    Raises:
        InvalidSpec: a document is not one that `export_experiment` writes; it names the file.
        Conflict: an id is taken by other content.
    """
    experiment, jobs = parse_document(files, EXPERIMENT), parse_document(files, JOBS)
    try:
        experiment_id = str(experiment["id"])
        if session.get(Experiment, experiment_id) is not None:
            if export_experiment(session, experiment_id) != {
                name: files[name] for name in (EXPERIMENT, JOBS, EPOCHS)
            }:
                raise Conflict(f"The id {experiment_id} is taken by another experiment.")
            return experiment_id
        ExperimentSpec.model_validate(experiment["document"], context=STORED)
        row = _load(Experiment, experiment, _EXPERIMENT_COLUMNS)
        session.add(Experiment(**row, owner=owner, announced=True))
        session.flush()
        new = _add_jobs(session, jobs, experiment_id, owner)
        session.add_all(
            Epoch(**_load(Epoch, epoch, _EPOCH_COLUMNS))
            for epoch in parse_document(files, EPOCHS)
            if epoch["job_id"] in new
        )
        specs = {
            document["id"]: JobSpec.model_validate(document["spec"], context=STORED) for document in jobs
        }
        for document in experiment["runs"]:
            run = Run(experiment_id=experiment_id, **_load(Run, document, _RUN_COLUMNS))
            spec = specs[run.job_id]
            part = NO_PART if spec.dataset.part is None else spec.dataset.part.index
            if run.seed != spec.seed or run.part not in (NO_PART, part):
                raise ValueError(f"a run has another seed or part than its job {run.job_id}")
            session.add(run)
        session.flush()
    except (KeyError, TypeError, ValueError, ArithmeticError, IntegrityError, DataError) as error:
        # Without the statement that a database's error quotes.
        reason = getattr(error, "orig", error)
        detail = f"the bundle's documents do not fit together: {type(error).__name__}: {reason}"
        raise InvalidSpec([FieldError(f"/{EXPERIMENT}", detail[:300])]) from None
    session.expire_all()
    return experiment_id


def _add_jobs(session: Session, documents: list[Document], experiment_id: str, owner: str) -> set[str]:
    """Store those jobs that are not there; returns their ids."""
    now, new = get_database_now(session), set()
    for document in documents:
        job_id = str(document["id"])
        existing = session.get(Job, job_id)
        if existing is not None:
            if _dump_job(existing) != document:
                raise Conflict(f"The id {job_id} is taken by another job.")
            continue
        spec = JobSpec.model_validate(document["spec"], context=STORED)
        row = _load(Job, document, _JOB_COLUMNS)
        if spec.spec_hash != row["spec_hash"] or not JobState(row["state"]).terminal:
            raise ValueError(f"job {job_id} has another hash than its specification, or has not ended")
        job = Job(
            **row, owner=owner, experiment_id=experiment_id, labels={}, priority=spec.priority, result=None
        )
        session.add(job)
        session.flush()
        if document["result"] is not None:
            folder = get_attempt_folder(job_id, row["attempt"])
            result = _load(Result, document["result"], _RESULT_COLUMNS)
            paths = {
                "model_path": f"{folder}/model.keras",
                "predictions_path": f"{folder}/test_predictions.npz",
            }
            session.add(Result(job_id=job_id, **result, **paths))
        session.add(
            Event(job_id=job_id, at=now, type="imported", to_state=job.state, attempt=job.attempt, detail={})
        )
        session.add_all(
            JobTechnique(job_id=job_id, technique=name, created_at=job.created_at)
            for name in spec.regularization.active
        )
        new.add(job_id)
    return new


def _dump_job(job: Job) -> Document:
    result = None if job.result is None else _dump(job.result, _RESULT_COLUMNS)
    return _dump(job, _JOB_COLUMNS) | {"result": result}


def _dump(row: Any, columns: tuple[str, ...]) -> Document:
    document = {}
    for name in columns:
        value = getattr(row, name)
        if isinstance(value, datetime):
            value = value.isoformat()
        document[name] = b64encode(value).decode() if isinstance(value, bytes) else value
    return document


def _load(model: type[Any], document: Document, columns: tuple[str, ...]) -> dict[str, Any]:
    table: Table = model.__table__
    return {name: _from_json(table.columns[name], document[name]) for name in columns}


def _from_json(column: Column[Any], value: Any) -> Any:
    """The value of a column, of the column's type.

    Raises:
        ValueError: it is of another type, too long, or no id.
    """
    if value is None and column.nullable:
        return None
    kind = column.type.python_type
    if isinstance(column.type, LargeBinary):
        return b64decode(value, validate=True)
    if isinstance(column.type, UtcDateTime):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(f"{column.name} has no time zone")
        return moment.astimezone(UTC)
    if kind is float and type(value) is int:
        value = float(value)
    _check_value(column, value)
    return value


def _check_value(column: Column[Any], value: Any) -> None:
    """Raise ValueError where a value is of another type, too long or too large, or no id."""
    kind = column.type.python_type
    kinds = (dict, list) if isinstance(column.type, JSON) else (kind,)
    if type(value) not in kinds:
        raise ValueError(f"{column.name} is no {kind.__name__}")
    if isinstance(value, str) and len(value) > (getattr(column.type, "length", None) or _MOST_CHARACTERS):
        raise ValueError(f"{column.name} is too long")
    if kind in _LARGEST and not abs(value) <= _LARGEST[kind]:
        raise ValueError(f"{column.name} is too large, or no number")
    if column.name in ("id", "job_id") and not re.fullmatch(ID_PATTERN, value):
        raise ValueError(f"{column.name} is no id")
    if column.name in _SHAPES:
        _SHAPES[column.name].validate_json(json.dumps(value), strict=True)
