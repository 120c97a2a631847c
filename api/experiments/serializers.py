"""Rows of experiments as response bodies."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Annotated, Any

from cachetools import LRUCache
from fastapi import Depends, Request
from sqlalchemy.orm import Session

from api import reports
from api.experiments import schemas
from api.http.root_path import add_root
from api.reports import answer_schemas
from api.reports.axis_schemas import Best
from models.run_key import Purpose, count_runs
from models.selection import ACROSS_POINTS, VariantMeans, choose_variant
from models.settings import Settings
from models.states import JobState
from models.store.experiment_runs import get_runs
from models.store.experiments import (
    ExperimentProgress,
    ExperimentProgressCache,
    find_follow_ups,
    get_common_means,
)
from models.store.tables import Experiment


@dataclass(frozen=True)
class AccuracyDifference:
    """A variant's mean test accuracy minus the baseline's, in points, with its 95 % interval."""

    variant: str
    mean: float
    low: float
    high: float
    call: str | None


@dataclass(frozen=True)
class Answer:
    """What a finished experiment says."""

    headline: str
    metrics: tuple[answer_schemas.Answer, ...]
    """What each tested metric shows."""
    differences: tuple[AccuracyDifference, ...]


class ExperimentSerializer:
    """Experiments as the API shows them. What is computed of finished ones is cached: they rarely change."""

    def __init__(self, settings: Settings, *, most: int = 1_000) -> None:
        self._settings = settings
        self._progress = ExperimentProgressCache(most=most)
        self._answers: LRUCache[tuple[Any, ...], Answer] = LRUCache(most)
        self._lock = Lock()

    def serialize(self, session: Session, experiments: Sequence[Experiment]) -> list[schemas.Experiment]:
        """The bodies of these rows, in their order."""
        session.flush()
        progress = self._progress.get(session, [experiment.id for experiment in experiments])
        follow_ups = find_follow_ups(session, [experiment.id for experiment in experiments])
        bodies = []
        for row in experiments:
            answer = self._find_answer(session, row, progress[row.id])
            headline = answer.headline if answer else None
            means = get_common_means(session, row, progress[row.id])
            bodies.append(_build_body(row, progress[row.id], headline, means, follow_ups[row.id]))
        return bodies

    def find_answers(self, session: Session, experiments: Sequence[Experiment]) -> dict[str, Answer]:
        """By id the answers of those that have finished."""
        progress = self._progress.get(session, [experiment.id for experiment in experiments])
        answers = {row.id: self._find_answer(session, row, progress[row.id]) for row in experiments}
        return {name: answer for name, answer in answers.items() if answer}

    def _find_answer(
        self, session: Session, experiment: Experiment, progress: ExperimentProgress
    ) -> Answer | None:
        if not progress.finished or experiment.auto_extending:
            return None
        counts = tuple(sorted(progress.counts.items()))
        key = experiment.id, experiment.extended, counts, progress.means, len(experiment.document["seeds"])
        with self._lock:
            answer = self._answers.get(key)
        if answer is None:
            runs = get_runs(session, experiment.id, Purpose.JUDGE)
            subject = reports.grouping.group_experiment(
                experiment, runs, settings=self._settings, base_url=""
            )
            headline, contrasts = reports.comparison.build_subject_headline(subject)
            metrics = reports.answers.build_answers(
                contrasts, subject.plan, axes=subject.axes, variants=len(subject.variants)
            )
            differences = [
                AccuracyDifference(item.variant, accuracy.mean, accuracy.low, accuracy.high, accuracy.call)
                for item in contrasts
                if item.differences
                and (accuracy := item.differences.test_accuracy_points)
                and accuracy.low is not None
                and accuracy.high is not None
            ]
            answer = Answer(headline, tuple(metrics), tuple(differences))
            with self._lock:
                self._answers[key] = answer
        return answer


def get_serializer(request: Request) -> ExperimentSerializer:
    """The application's, as a dependency."""
    serializer: ExperimentSerializer = request.app.state.experiment_serializer
    return serializer


SerializerDep = Annotated[ExperimentSerializer, Depends(get_serializer)]


def get_baseline(document: Mapping[str, Any]) -> str:
    """The name of the variant that the others are compared with."""
    return str(document["baseline"] or document["variants"][0]["name"])


def _build_body(
    row: Experiment,
    progress: ExperimentProgress,
    headline: str | None,
    means: Sequence[VariantMeans],
    follow_ups: list[str],
) -> schemas.Experiment:
    here, baseline = add_root(f"/v1/experiments/{row.id}"), get_baseline(row.document)
    finished = progress.finished and not row.auto_extending
    choice: VariantMeans | str = "A job has not ended."
    if finished and row.document.get("axes"):
        choice = ACROSS_POINTS
    elif finished:
        choice = choose_variant(row.document, means, baseline)
    deleted = count_runs(row.document) - progress.total
    return schemas.Experiment(
        id=row.id,
        name=row.name,
        preset=row.preset,
        spec=row.document | {"split_per_seed": row.document.get("split_per_seed", False)},
        baseline=baseline,
        confirms=row.confirms,
        follow_ups=follow_ups,
        inference="sequential"
        if row.document.get("stopping_rule")
        else row.document.get("inference", "fixed"),
        auto_extending=row.auto_extending,
        labels=row.labels,
        notes=row.notes,
        archived=row.archived,
        created_at=row.created_at,
        progress=schemas.ExperimentProgress(
            counts={state: progress.counts.get(state, 0) for state in JobState},
            total=progress.total,
            reused=progress.reused,
            deleted=deleted,
            fraction=progress.fraction,
            percent=round(100 * progress.fraction, 1),
            finished=finished,
            eta_seconds=progress.remaining_seconds,
        ),
        headline=headline,
        best=None if isinstance(choice, str) else Best.model_validate(asdict(choice)),
        no_best=choice if isinstance(choice, str) else None,
        links=schemas.ExperimentLinks(
            self=here,
            jobs=add_root(f"/v1/jobs?experiment={row.id}"),
            report=f"{here}/report",
            events=f"{here}/events",
            charts=f"{here}/charts",
            curves=f"{here}/curves",
            cancel=None if progress.finished else f"{here}/cancel",
            pause=None if progress.finished else f"{here}/pause",
            resume=None if progress.finished else f"{here}/resume",
            retry_failed=f"{here}/retry-failed" if progress.unsuccessful or deleted else None,
            extend=f"{here}/extend",
        ),
    )
