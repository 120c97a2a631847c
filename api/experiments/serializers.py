"""Rows of experiments as response bodies."""

from collections.abc import Mapping
from typing import Any

from api.experiments import schemas
from models.states import JobState
from models.store import tables
from models.store.experiments import ExperimentProgress


def serialize_experiment(row: tables.Experiment, progress: ExperimentProgress) -> schemas.Experiment:
    """An experiment's row, and how far it is, as the API shows them."""
    here, best = f"/v1/experiments/{row.id}", None
    deleted = len(row.document["variants"]) * len(row.document["seeds"]) - progress.total
    if progress.best_job is not None and progress.best_test_accuracy is not None:
        best = schemas.Best(
            variant=progress.best_variant, job_id=progress.best_job, test_accuracy=progress.best_test_accuracy
        )
    return schemas.Experiment(
        id=row.id,
        name=row.name,
        preset=row.preset,
        spec=row.document | {"split_per_seed": row.document.get("split_per_seed", False)},
        baseline=get_baseline(row.document),
        inference=row.document.get("inference", "fixed"),
        auto_extending=row.auto_extending,
        created_at=row.created_at,
        progress=schemas.ExperimentProgress(
            counts={state: progress.counts.get(state, 0) for state in JobState},
            total=progress.total,
            reused=progress.reused,
            deleted=deleted,
            fraction=progress.fraction,
            percent=round(100 * progress.fraction, 1),
            finished=progress.finished and not row.auto_extending,
            eta_seconds=progress.remaining_seconds,
        ),
        best=best,
        links=schemas.ExperimentLinks(
            self=here,
            jobs=f"/v1/jobs?experiment={row.id}",
            report=f"{here}/report",
            charts=f"{here}/charts",
            curves=f"{here}/curves",
            cancel=None if progress.finished else f"{here}/cancel",
            pause=None if progress.finished else f"{here}/pause",
            resume=None if progress.finished else f"{here}/resume",
            retry_failed=f"{here}/retry-failed" if progress.unsuccessful or deleted else None,
            extend=f"{here}/extend",
        ),
    )


def get_baseline(document: Mapping[str, Any]) -> str:
    """The name of the variant that the others are compared with."""
    return str(document["baseline"] or document["variants"][0]["name"])
