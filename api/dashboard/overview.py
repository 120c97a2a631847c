"""The overview, which is the first page, and the numbers that the header of every page shows."""

from dataclasses import dataclass
from functools import cache

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.dashboard import experiments, jobs
from api.dashboard.rendering import PageRoute, RenderPage
from api.experiments import serializers as experiment_serializers
from api.http.curl import format_curl
from api.http.dependencies import CallerDep, DatabaseDep, get_caller, get_database
from api.jobs import serializers as job_serializers
from models.cost import estimate_cost
from models.documents import Document
from models.experiments import FEWEST_PAIRS, ExperimentSpec
from models.states import JobState
from models.store import activity
from models.store.experiment_search import ExperimentFilter, find_experiments
from models.store.job_search import JobFilter, find_jobs
from models.store.remaining_time import Pace, get_pace
from models.store.workers import count_live_workers

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_VERDICTS = 5
_MAX_LISTED = 10
_USUAL_PACE = Pace(seconds_per_operation=2e-10, seconds_per_job=0.0, seconds_per_program=0.0, processes=1)
"""Of such small jobs on two cores of an AMD EPYC: the estimate where nothing has been trained yet."""


@dataclass(frozen=True)
class Question:
    """An experiment that one click starts."""

    title: str
    text: str
    document: Document
    jobs: int
    operations: float
    """Floating-point operations of all its jobs."""


class Status(BaseModel):
    """How busy the installation is."""

    processes: int
    """Training processes of the workers that run now."""
    running: int
    queued: int
    is_all: bool
    """Whether these are the jobs of all owners, not the caller's alone."""


@router.get("/status")
def show_status(caller: CallerDep, database: DatabaseDep) -> Status:
    """The workers, and the jobs that run and wait, as far as the caller may see them."""
    with database.read() as session:
        load = activity.count_load(session)
        processes = count_live_workers(session).processes
    return Status(
        processes=processes,
        running=sum(owner.running for owner in load),
        queued=sum(owner.queued for owner in load),
        is_all=caller.sees_all,
    )


def render_overview(request: Request, render: RenderPage) -> Response:
    """What runs and waits, what failed, the latest answers; what to begin with where there is nothing yet."""
    serializer = experiment_serializers.get_serializer(request)
    current = ExperimentFilter(archived=False, finished=False)
    ended = ExperimentFilter(archived=False, finished=True)
    only_running = JobFilter(states=(JobState.RUNNING,))
    with get_database(request).read() as session:
        unfinished = serializer.serialize(
            session, find_experiments(session, current, after=None, limit=_MAX_LISTED)
        )
        verdicts = serializer.serialize(
            session, find_experiments(session, ended, after=None, limit=_VERDICTS)
        )
        running = [
            job_serializers.serialize_job(job, None)
            for job in find_jobs(session, only_running, after=None, limit=_MAX_LISTED)
            if job.experiment_id is None
        ]
        is_empty = not (unfinished or verdicts or find_jobs(session, JobFilter(), after=None, limit=1))
        load = activity.count_load(session)
        workers = count_live_workers(session)
        ends = [] if is_empty else activity.count_ends_by_hour(session)
        failures = [] if is_empty else activity.count_failures(session)
        failed = activity.find_failures(session, limit=_MAX_LISTED) if failures else []
        pace = get_pace(session)
        page = render(
            "overview.html.jinja",
            is_empty=is_empty,
            unfinished=unfinished,
            running=running,
            verdicts=verdicts,
            load=load,
            workers=workers,
            ends=ends,
            failures=failures,
            failed=failed,
            sees_all=get_caller(request).sees_all,
            format_progress=experiments.format_progress,
            job_progress=jobs.format_progress,
            is_measured=pace is not None,
            questions=[
                (
                    question,
                    (pace or _USUAL_PACE).estimate_seconds(
                        question.operations, jobs=question.jobs, programs=len(question.document["variants"])
                    ),
                )
                for question in build_questions()
            ],
            curl=format_curl(
                request.app.state.settings,
                str(request.base_url),
                "/v1/experiments",
                {"preset": "dropout-vs-none", "replicates": FEWEST_PAIRS},
            ),
        )
    page.headers["Vary"] = "Accept"
    return page


@cache
def build_questions() -> tuple[Question, ...]:
    """The questions of the overview: small networks on few examples, which overfit within seconds."""
    none = {"name": "none", "changes": {}}
    base = {
        "dataset": {"name": "mnist_5k", "train_samples": 1000},
        "model": {"hidden_units": [128]},
        "training": {"epochs": 20},
    }
    pairs = {"base": base, "seeds": list(range(FEWEST_PAIRS))}

    def build_variant(name: str, **techniques: Document) -> Document:
        return {"name": name, "changes": {"regularization": techniques}}

    strengths = [
        build_variant(f"L2 {factor}", l2={"factor": float(factor)}) for factor in ("1e-4", "1e-3", "1e-2")
    ]
    questions = (
        (
            "Does dropout help?",
            "A network with dropout against the same network without it.",
            {**pairs, "variants": [none, build_variant("dropout", dropout={})]},
        ),
        (
            "L1 or L2?",
            "Both weight penalties against none.",
            {
                **pairs,
                "variants": [
                    none,
                    build_variant("L1", l1={"factor": 1e-4}),
                    build_variant("L2", l2={"factor": 1e-3}),
                ],
            },
        ),
        ("How strong?", "Three strengths of L2 against none.", {**pairs, "variants": [none, *strengths]}),
        (
            "Bias and variance of my network",
            "What the error of a network consists of, without and with L2, from five parts of the images.",
            {
                "base": base | {"dataset": {"name": "mnist_5k"}, "model": {"hidden_units": [100]}},
                "variants": [none, build_variant("L2", l2={"factor": 1e-3})],
                "seeds": [0, 1],
                "parts": 5,
            },
        ),
    )
    built = []
    for title, text, document in questions:
        runs = ExperimentSpec.model_validate(document | {"name": title}).build_runs()
        operations = sum(estimate_cost(run).total_flops for _, run in runs)
        built.append(Question(title, text, document | {"name": title}, len(runs), operations))
    return tuple(built)
