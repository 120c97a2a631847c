"""`GET /v1/experiments/{id}/trials`: the settings that an experiment's tuning has tried."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.http import problem_types
from api.http.dependencies import DatabaseDep, ExperimentId
from api.http.etags import IfNoneMatch, build_not_modified, compute_document_etag, match_etag
from api.http.negotiation import Accept, require_format
from api.http.openapi import documented
from api.http.routing import StrictQueryRoute
from api.http.schemas import ResponseModel
from api.reports.csv_table import escape_formula
from models.experiments import ExperimentSpec
from models.run_key import Purpose, RunKey
from models.spec import STORED
from models.states import JobState
from models.store.experiment_runs import get_runs, get_validation_losses
from models.store.experiments import find_tuned_experiment, get_experiment
from models.store.tables import Job
from models.tuning import build_point

router = APIRouter(prefix="/v1/experiments", tags=["experiments"], route_class=StrictQueryRoute)

_MEDIA_TYPES = {"json": "application/json", "csv": "text/csv"}
# Of several jobs, the state that a trial is said to be in: the first of these that one of them is in.
_ORDER = (
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.RUNNING,
    JobState.PAUSED,
    JobState.QUEUED,
    JobState.SUCCEEDED,
)


class ValidationLoss(ResponseModel):
    """Of a trial's jobs, in nats: at their end, or at the last rung of halving that they came to."""

    mean: float | None = Field(description="Null until every seed has a value")
    sd: float | None = Field(description="Over seeds; null for a single one")
    values: list[float | None] = Field(description="Of each seed, in their order")


class Trial(ResponseModel):
    """A setting that tuning has tried with a variant."""

    variant: str
    trial: int = Field(description="From 0, within its variant")
    parameters: dict[str, Any] = Field(description="The value of each tuned field, by its JSON pointer")
    seeds: list[int] = Field(description="The same for all trials and variants")
    rung: int | None = Field(
        description="`halving`: the rung that it is on or has ended on, from 0; null by other methods"
    )
    epochs: int = Field(description="That its jobs have been trained for, in all")
    validation_loss: ValidationLoss
    state: JobState | Literal["deleted"] = Field(description="Of the job that is furthest from success")
    chosen: bool = Field(description="Whether its variant is judged with it")


class TrialList(ResponseModel):
    """The settings that tuning has tried, by variant and in their order; empty without tuning."""

    items: list[Trial]
    experiment_id: str | None = Field(
        description="Of the experiment that has tried them: of a follow-up the one that it follows up; null "
        "if that was deleted"
    )


@router.get(
    "/{experiment_id}/trials",
    response_model=TrialList,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
@documented(problem_types.NOT_ACCEPTABLE, headers=("ETag",))
def list_trials(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    format: Annotated[  # noqa: A002 (the parameter's name in the URL)
        Literal["json", "csv"] | None, Query(description="Has precedence over the Accept header")
    ] = None,
    accept: Accept = "*/*",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The settings that an experiment's tuning has tried, and which are chosen, by validation alone.

    A follow-up judges what another experiment has chosen; these are the trials of that one.
    """
    media_type = _MEDIA_TYPES[format] if format else require_format(accept, [*_MEDIA_TYPES.values()])
    with database.read() as session:
        experiment = get_experiment(session, experiment_id)
        spec = ExperimentSpec.model_validate(experiment.document, context=STORED)
        tuned = find_tuned_experiment(session, experiment)
        runs = get_runs(session, tuned.id, Purpose.TUNE) if tuned else []
        losses = get_validation_losses(session, runs)
    items = _build_trials(spec, {run.key: run.job for run in runs}, losses)
    trials = TrialList(items=items, experiment_id=tuned.id if tuned else None)
    document = trials.model_dump_json() if media_type == _MEDIA_TYPES["json"] else _render_csv(trials.items)
    headers = {"ETag": compute_document_etag(document), "Vary": "Accept"}
    if match_etag(if_none_match, headers["ETag"]):
        return build_not_modified(headers["ETag"], {"Vary": "Accept"})
    return Response(document, media_type=media_type, headers=headers)


def _build_trials(
    spec: ExperimentSpec, jobs: dict[RunKey, Job], losses_of_jobs: Mapping[str, float | None]
) -> list[Trial]:
    items: list[Trial] = []
    if spec.tune is None:
        return items
    seeds = spec.tune.seeds
    for variant, settings in spec.tune.settings.items():
        for number, setting in enumerate(settings):
            point = build_point(number, setting)
            keys = (RunKey(variant, seed, point, purpose=Purpose.TUNE) for seed in seeds)
            of_seeds = [jobs.get(key) for key in keys]
            existing = [job for job in of_seeds if job is not None]
            states = {JobState(job.state) for job in existing}
            losses = [losses_of_jobs.get(job.id) if job else None for job in of_seeds]
            known = [loss for loss in losses if loss is not None]
            complete = len(known) == len(seeds)
            items.append(
                Trial(
                    variant=variant,
                    trial=number,
                    parameters=setting,
                    seeds=seeds,
                    rung=spec.tune.get_rung(variant, number) if spec.tune.method == "halving" else None,
                    epochs=sum(job.epochs_done for job in existing),
                    validation_loss=ValidationLoss(
                        mean=fmean(known) if complete else None,
                        sd=stdev(known) if complete and len(known) > 1 else None,
                        values=losses,
                    ),
                    state=next(state for state in _ORDER if state in states)
                    if len(existing) == len(seeds)
                    else "deleted",
                    chosen=spec.tune.chosen.get(variant) == number,
                )
            )
    return items


def _render_csv(trials: Sequence[Trial]) -> str:
    """One row a trial, with a column for each tuned field; what a variant does not tune is empty."""
    fields = dict.fromkeys(field for trial in trials for field in trial.parameters)
    measured = ["state", "chosen", "rung", "epochs", "validation_loss", "validation_loss_sd", "seeds"]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["variant", "trial", *fields, *measured], restval="")
    writer.writeheader()
    for trial in trials:
        values = {
            field: value if isinstance(value, int | float | str) else json.dumps(value)
            for field, value in trial.parameters.items()
        }
        writer.writerow(
            {"variant": escape_formula(trial.variant), "trial": trial.trial}
            | {field: escape_formula(v) if isinstance(v, str) else v for field, v in values.items()}
            | trial.model_dump(include={"state", "chosen", "rung", "epochs"})
            | {
                "validation_loss": trial.validation_loss.mean,
                "validation_loss_sd": trial.validation_loss.sd,
                "seeds": len(trial.seeds),
            }
        )
    return text.getvalue()
