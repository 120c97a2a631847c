"""Rows of experiments as response bodies."""

from collections.abc import Mapping
from typing import Any

from api.experiments import schemas
from models.states import JobState
from models.store import tables
from models.store.experiments import Standing


def serialize_experiment(row: tables.Experiment, standing: Standing) -> schemas.Experiment:
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
            counts={state: standing.counts.get(state, 0) for state in JobState},
            total=standing.total,
            reused=standing.reused,
            fraction=standing.fraction,
            percent=round(100 * standing.fraction, 1),
            finished=standing.finished and not row.auto_extending,
            eta_seconds=standing.remaining_seconds,
        ),
        best=_serialize_best(standing),
        links=schemas.ExperimentLinks(
            self=here,
            jobs=f"/v1/jobs?experiment={row.id}",
            report=f"{here}/report",
            charts=f"{here}/charts",
            curves=f"{here}/curves",
            cancel=None if standing.finished else f"{here}/cancel",
            pause=None if standing.finished else f"{here}/pause",
            resume=None if standing.finished else f"{here}/resume",
            retry_failed=f"{here}/retry-failed" if standing.unsuccessful else None,
            extend=f"{here}/extend",
        ),
    )


def get_baseline(document: Mapping[str, Any]) -> str:
    """The name of the variant that the others are compared with."""
    return str(document["baseline"] or document["variants"][0]["name"])


def _serialize_best(standing: Standing) -> schemas.Best | None:
    if standing.best_job is None or standing.best_test_accuracy is None:
        return None
    return schemas.Best(
        variant=standing.best_variant, job_id=standing.best_job, test_accuracy=standing.best_test_accuracy
    )
