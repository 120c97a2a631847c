"""Pages about experiments: the list, one of them, and the forms that start jobs and experiments."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api.dashboard import forms, run_table
from api.dashboard.rendering import PageDep, PageRoute
from api.experiments import schemas as experiment_schemas
from api.experiments import serializers as experiment_serializers
from api.experiments.presets import PRESETS
from api.http.curl import format_curl
from api.http.dependencies import DatabaseDep, ExperimentId, SettingsDep
from api.http.pagination import Cursor, decode_cursor, encode_cursor
from models.datasets import DATASETS, is_available
from models.formatting import format_duration
from models.settings import Settings
from models.states import JobState
from models.store import experiments as store
from models.store.experiment_runs import glances_of
from models.store.job_search import Place

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_PAGE = 50
_MORE_SEEDS = 5
Form = Annotated[str | None, Query(description="What the form begins with; read by the page itself")]


@dataclass(frozen=True)
class Row:
    """An experiment in the list."""

    experiment: experiment_schemas.Experiment
    variants: int
    seeds: int
    dataset: str
    standing: str


@dataclass(frozen=True)
class Act:
    """A button, and why it cannot be pressed now."""

    label: str
    path: str
    reason: str | None = None
    asks: str | None = None
    """What a person is asked before it is done."""


@router.get("/experiments")
def list_experiments(
    page: PageDep, database: DatabaseDep, request: Request, cursor: Cursor = None
) -> Response:
    """Experiments, newest first."""
    with database.read() as session:
        experiments = store.find_experiments(session, after=decode_cursor(cursor), limit=_PAGE + 1)
        shown = experiments[:_PAGE]
        known: store.Standings = request.app.state.standings
        standings = known.of(session, [item.id for item in shown])
    rows = [_row(experiment_serializers.serialize_experiment(item, standings[item.id])) for item in shown]
    last = encode_cursor(Place(shown[-1].created_at, shown[-1].id)) if len(experiments) > _PAGE else None
    return page("experiments.html.jinja", rows=rows, next_cursor=last)


@router.get("/experiments/{experiment_id}")
def show_experiment(
    experiment_id: ExperimentId,
    page: PageDep,
    database: DatabaseDep,
    curve: Form = None,
    difference: Form = None,
) -> Response:
    """One experiment: how far it is, its grid, its curves and what its report says."""
    with database.read() as session:
        row = store.get_experiment(session, experiment_id)
        standing = store.standings(session, [experiment_id])[experiment_id]
        glances = glances_of(session, experiment_id)
    experiment = experiment_serializers.serialize_experiment(row, standing)
    names = [variant["name"] for variant in experiment.spec["variants"]]
    seeds = experiment.spec["seeds"]
    return page(
        "experiment.html.jinja",
        experiment=experiment,
        standing=standing_words(experiment.progress),
        grid=run_table.grid(glances, names, baseline=experiment.baseline),
        actions=acts(experiment),
        next_seeds=f"{max(seeds) + 1}-{max(seeds) + _MORE_SEEDS}",
    )


@router.get("/new")
def new_job(page: PageDep, request: Request, settings: SettingsDep, spec: Form = None) -> Response:
    """The form for one job."""
    return page(
        "new_job.html.jinja",
        tab="job",
        sections=forms.sections(),
        families=forms.families(),
        job=forms.job(),
        submit="Start training",
        command=format_curl(settings, str(request.base_url), "/v1/jobs"),
        **_datasets(settings),
    )


@router.get("/new/experiment")
def new_experiment(
    page: PageDep,
    request: Request,
    settings: SettingsDep,
    spec: Form = None,
    preset: Form = None,
    origin: Annotated[str | None, Query(alias="from", description="An experiment's id")] = None,
) -> Response:
    """The form for an experiment."""
    return page(
        "new_experiment.html.jinja",
        tab="experiment",
        presets=PRESETS,
        sections=forms.sections(),
        families=forms.families(),
        rules=forms.experiment_rules(),
        stopping_rule=forms.stopping_rule_controls(),
        submit="Start the experiment",
        command=format_curl(settings, str(request.base_url), "/v1/experiments"),
        **_datasets(settings),
    )


def _datasets(settings: Settings) -> dict[str, Any]:
    """The dataset that a form begins with, one that is here if any is; and what to say beside each."""
    here = [name for name in DATASETS if is_available(name, settings)]
    return {
        "dataset": here[0] if here else None,
        "notes": {name: "" if name in here else " (to be downloaded)" for name in DATASETS},
    }


def standing_words(progress: experiment_schemas.ExperimentProgress) -> str:
    """How far an experiment is, in a few words."""
    done = progress.counts[JobState.SUCCEEDED]
    if progress.finished:
        return "finished" if done == progress.total else f"ended, {done} of {progress.total} succeeded"
    words = f"{done} of {progress.total} succeeded"
    if progress.eta_seconds is None:
        return words
    return f"{words}, about {format_duration(progress.eta_seconds)} of training left"


def acts(experiment: experiment_schemas.Experiment) -> list[Act]:
    """What can be asked of an experiment, and why not."""
    links, counts = experiment.links, experiment.progress.counts
    ended = "Every job has ended."
    here = links.self
    paused = "" if counts[JobState.PAUSED] else "No job is paused."
    return [
        Act("Pause", f"{here}/pause", None if links.pause else ended),
        Act("Resume", f"{here}/resume", (paused or None) if links.resume else ended),
        Act(
            "Cancel",
            f"{here}/cancel",
            None if links.cancel else ended,
            asks="End every job that has not ended? What is trained so far stays.",
        ),
        Act(
            "Retry what failed",
            f"{here}/retry-failed",
            None if links.retry_failed else "No job has failed or was cancelled.",
        ),
    ]


def _row(experiment: experiment_schemas.Experiment) -> Row:
    return Row(
        experiment=experiment,
        variants=len(experiment.spec["variants"]),
        seeds=len(experiment.spec["seeds"]),
        dataset=experiment.spec["base"]["dataset"]["name"],
        standing=standing_words(experiment.progress),
    )
