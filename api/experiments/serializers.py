"""Rows of experiments as response bodies."""

from collections.abc import Mapping
from typing import Any

from api.experiments import schemas
from models.states import JobState
from models.store import tables
from models.store.experiments import ExperimentProgress


def serialize_experiment(
    row: tables.Experiment, experiment_progress: ExperimentProgress
) -> schemas.Experiment:
    """An experiment's row, and how far it is, as the API shows them."""
    here = f"/v1/experiments/{row.id}"
    return schemas.Experiment(
        id=row.id,
        name=row.name,
        preset=row.preset,
        spec=row.document,
        baseline=get_baseline(row.document),
        auto_extending=row.auto_extending,
        created_at=row.created_at,
        progress=schemas.ExperimentProgress(
            counts={state: experiment_progress.counts.get(state, 0) for state in JobState},
            total=experiment_progress.total,
            reused=experiment_progress.reused,
            fraction=experiment_progress.fraction,
            percent=round(100 * experiment_progress.fraction, 1),
            finished=experiment_progress.finished and not row.auto_extending,
            eta_seconds=experiment_progress.remaining_seconds,
        ),
        best=_serialize_best(experiment_progress),
        links=schemas.ExperimentLinks(
            self=here,
            jobs=f"/v1/jobs?experiment={row.id}",
            report=f"{here}/report",
            charts=f"{here}/charts",
            curves=f"{here}/curves",
            cancel=None if experiment_progress.finished else f"{here}/cancel",
            pause=None if experiment_progress.finished else f"{here}/pause",
            resume=None if experiment_progress.finished else f"{here}/resume",
            retry_failed=f"{here}/retry-failed" if experiment_progress.unsuccessful else None,
            extend=f"{here}/extend",
        ),
    )


def get_baseline(document: Mapping[str, Any]) -> str:
    """The name of the variant that the others are compared with."""
    return str(document["baseline"] or document["variants"][0]["name"])


def _serialize_best(experiment_progress: ExperimentProgress) -> schemas.Best | None:
    if experiment_progress.best_job is None or experiment_progress.best_test_accuracy is None:
        return None
    return schemas.Best(
        variant=experiment_progress.best_variant,
        job_id=experiment_progress.best_job,
        test_accuracy=experiment_progress.best_test_accuracy,
    )
