"""How rows become what the API answers: one function a shape."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from api.http.root_path import add_root
from api.jobs import schemas
from models import cost
from models.run_key import Purpose, name_row, parse_part, parse_point
from models.states import Action, JobState
from models.store import tables
from models.store.queue_positions import get_queue_positions
from models.store.remaining_time import Pace

_METRICS = [name for name in schemas.Result.model_fields if name != "engine"]
_get_metrics = attrgetter(*_METRICS)


def serialize_job(
    row: tables.Job | Row[Any],
    queue_position: int | None,
    *,
    with_spec: bool = True,
    with_result: bool = True,
) -> schemas.Job:
    """A job, and its place in the queue, as lists show it. A row is one of models/store/job_search.py."""
    source = row.result if isinstance(row, tables.Job) else row
    # A row without a result has all of the result's columns, empty.
    result = source if with_result and source and source.job_id else None
    here, state = add_root(f"/v1/jobs/{row.id}"), JobState(row.state)
    ends = state.terminal or row.requested_action == Action.CANCEL
    pausing = state == JobState.PAUSED or row.requested_action == Action.PAUSE
    return schemas.Job(
        id=row.id,
        name=name_row(row),
        state=state,
        requested_action=Action(row.requested_action) if row.requested_action else None,
        spec=row.spec if with_spec else {},
        spec_hash=row.spec_hash,
        experiment_id=row.experiment_id,
        variant=row.variant,
        point=parse_point(row.point),
        part=parse_part(row.part),
        purpose=Purpose(row.purpose),
        retry_of=row.retry_of,
        labels=row.labels,
        notes=row.notes,
        archived=row.archived,
        priority=row.priority,
        attempt=row.attempt,
        crashes=row.crashes,
        queue_position=queue_position,
        progress=schemas.Progress(
            epoch=row.epochs_done, epochs=row.epochs, fraction=row.fraction, eta_seconds=row.eta_seconds
        ),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        stop_reason=result.stop_reason if result else None,
        error=schemas.JobError(
            code=row.error_code, message=row.error_message or "", retryable=bool(row.error_retryable)
        )
        if row.error_code
        else None,
        result=serialize_result(result) if result else None,
        links=schemas.JobLinks(
            self=here,
            epochs=f"{here}/epochs",
            events=f"{here}/events",
            model=f"{here}/model" if state == JobState.SUCCEEDED else None,
            cancel=None if ends else f"{here}/cancel",
            pause=None if ends or pausing else f"{here}/pause",
            resume=f"{here}/resume" if pausing else None,
            retry=f"{here}/retry" if state in (JobState.FAILED, JobState.CANCELLED) else None,
        ),
    )


def serialize_job_details(row: tables.Job, queue_position: int | None) -> schemas.JobDetails:
    """A job's row, and its place in the queue, as the job itself is shown."""
    result = serialize_result_details(row.result) if row.result else None
    return schemas.JobDetails(**dict(serialize_job(row, queue_position)) | {"result": result})


def serialize_current_job(session: Session, job: tables.Job) -> schemas.JobDetails:
    """A job's row with its place in the queue, which is read now."""
    return serialize_job_details(job, get_queue_positions(session, [job]).get(job.id))


def serialize_result(row: tables.Result | Row[Any]) -> schemas.Result:
    """A result's row as lists and reports show it."""
    metrics = zip(_METRICS, _get_metrics(row), strict=True)
    return schemas.Result(**dict(metrics), engine=schemas.Engine.model_validate(row))


def serialize_result_details(row: tables.Result) -> schemas.ResultDetails:
    """A result's row as its job shows it."""
    return schemas.ResultDetails(
        **dict(serialize_result(row)),
        layers=row.layers,
        confusion_matrix=row.confusion,
        robustness=row.robustness,
        per_class_accuracy=None if row.confusion is None else compute_per_class_accuracy(row.confusion),
    )


def compute_per_class_accuracy(confusion: Sequence[Sequence[int]]) -> list[float | None]:
    """The share of each true class that was classified correctly; None where there is nothing of it.

    `confusion` has shape (classes, classes): counts by true class, then by answer.
    """
    return [
        answers[truth] / sum(answers) if any(answers) else None for truth, answers in enumerate(confusion)
    ]


def serialize_cost(estimate: cost.CostEstimate, pace: Pace | None) -> schemas.CostEstimate:
    """An estimate as the API shows it, with the time it takes at this installation's pace where known."""
    seconds = pace and pace.estimate_seconds(estimate.total_flops)
    return schemas.CostEstimate(**vars(estimate), estimated_seconds=seconds)
