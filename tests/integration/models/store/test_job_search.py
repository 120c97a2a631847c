"""Pages of jobs: order, filters together, owners, and what the databases read for them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Row
from sqlalchemy.orm import Session

from models.experiments import ExperimentSpec
from models.spec import JobSpec
from models.states import JobState
from models.store import job_search, jobs
from models.store.database import Database
from models.store.experiments import create_experiment
from models.store.job_search import Cursor, JobFilter, SortOrder, find_jobs, get_cursor
from models.store.jobs import NewJob
from models.store.transitions import get_job
from tests.factories import finish_job, job_spec, result_record

DROPOUT: dict[str, Any] = {"dropout": {}}
BOTH: dict[str, Any] = {"dropout": {}, "l2": {}}


def create(database: Database, *specs: JobSpec, owner: str = "local") -> list[str]:
    with database.write() as session:
        return [job.id for job in jobs.create_jobs(session, [NewJob(spec, owner) for spec in specs])]


def page(database: Database, filters: JobFilter, **options: Any) -> list[str]:
    with database.read() as session:
        return [job.id for job in find_jobs(session, filters, **({"after": None, "limit": 50} | options))]


def walk(database: Database, filters: JobFilter, order: SortOrder, limit: int) -> list[str]:
    """A whole list, page after page."""
    seen: list[str] = []
    after: Cursor | None = None
    while True:
        with database.read() as session:
            rows = find_jobs(session, filters, after=after, limit=limit, order=order)
        if not rows:
            return seen
        seen += [job.id for job in rows]
        after = get_cursor(rows[-1], order)


@pytest.fixture
def measured(database: Database) -> list[str]:
    """Jobs from the least accurate to the most, two of them equal; the last has no result."""
    ids = create(database, *(job_spec(seed=seed, regularization=DROPOUT) for seed in range(5)))
    accuracies = dict(zip(ids, (0.7, 0.8, 0.8, 0.9), strict=False))
    for job_id, accuracy in accuracies.items():
        validation = None if accuracy == 0.9 else accuracy
        result = result_record(test_accuracy=accuracy, validation_accuracy=validation, epochs_run=3)
        finish_job(database, job_id, result=result)
    return sorted(accuracies, key=lambda job_id: (accuracies[job_id], job_id))


@pytest.mark.parametrize("few", [0, 2_000], ids=["by the metric's index", "by the filter's"])
@pytest.mark.parametrize("limit", [1, 2, 50])
def test_sorting_by_a_metric_lists_each_job_that_has_it_once(
    database: Database, measured: list[str], monkeypatch: pytest.MonkeyPatch, few: int, limit: int
) -> None:
    monkeypatch.setattr("models.store.job_search._FEW", few)
    for filters in (JobFilter(), JobFilter(techniques=["dropout"], states=[JobState.SUCCEEDED])):
        assert walk(database, filters, SortOrder("test_accuracy", descending=False), limit) == measured
        assert walk(database, filters, SortOrder("test_accuracy"), limit) == measured[::-1]
        assert walk(database, filters, SortOrder("validation_accuracy"), limit) == measured[2::-1]
        assert walk(database, filters, SortOrder("epochs_run"), limit) == sorted(measured)[::-1]
    assert walk(database, JobFilter(states=[JobState.QUEUED]), SortOrder("test_accuracy"), limit) == []
    assert walk(database, JobFilter(techniques=["l1"]), SortOrder("test_accuracy"), limit) == []


def test_values_of_a_field_are_alternatives_and_all_fields_must_match(database: Database) -> None:
    one, two, three, four = create(
        database,
        job_spec(regularization=BOTH, labels={"team": "a", "kind": "x"}),
        job_spec(regularization=DROPOUT, labels={"team": "b"}),
        job_spec(regularization={"l2": {}}, dataset={"name": "mnist"}),
        job_spec(),
    )
    with database.write() as session:
        jobs.pause_job(session, two)
    both = ["dropout", "l2"]
    newest: list[tuple[JobFilter, list[str]]] = [
        (JobFilter(techniques=both), [three, two, one]),
        (JobFilter(datasets=["mnist", "mnist_5k"]), [four, three, two, one]),
        (JobFilter(labels=[("team", "a"), ("team", "b"), ("kind", "x")]), [two, one]),
        (JobFilter(techniques=both, datasets=["mnist"]), [three]),
        (JobFilter(techniques=both, states=[JobState.QUEUED]), [three, one]),
        (JobFilter(states=[JobState.QUEUED, JobState.PAUSED], labels=[("team", "b")]), [two]),
        (JobFilter(techniques=["l2"], labels=[("team", "b")]), []),
    ]
    for filters, expected in newest:
        assert page(database, filters) == expected
        assert walk(database, filters, SortOrder(), 1) == expected
        assert page(database, filters, order=SortOrder(descending=False)) == expected[::-1]


def test_filtering_by_experiments_lists_each_job_once(database: Database) -> None:
    base = job_spec().model_dump(mode="json")
    specs = [
        ExperimentSpec.model_validate(
            {"name": "e", "base": base, "variants": [{"name": "a"}], "seeds": [number, number + 1]}
        )
        for number in (0, 2)
    ]
    with database.write() as session:
        created = [create_experiment(session, spec, preset=None) for spec in specs]
    experiments = [experiment.id for experiment, _ in created]
    ids = [job.id for _, new in created for job in new]
    assert page(database, JobFilter(experiment_ids=experiments[:1])) == ids[1::-1]
    assert sorted(page(database, JobFilter(experiment_ids=experiments))) == sorted(ids)
    assert page(database, JobFilter(experiment_ids=["exp_none"])) == []


@pytest.mark.parametrize(
    "filters",
    [
        JobFilter(),
        JobFilter(techniques=["dropout"]),
        JobFilter(techniques=["dropout", "l2"]),
        JobFilter(states=[JobState.QUEUED, JobState.SUCCEEDED], datasets=["mnist_5k"]),
        JobFilter(labels=[("team", "a")], techniques=["l2"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("order", [SortOrder(), SortOrder("test_loss", descending=False)], ids=str)
@pytest.mark.parametrize("few", [0, 2_000])
def test_no_list_shows_another_owners_jobs(
    database: Database, filters: JobFilter, order: SortOrder, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.store.job_search._FEW", few)
    spec = job_spec(regularization=BOTH, labels={"team": "a"})
    (ours,) = create(database, spec, owner="ours")
    (theirs,) = create(database, spec, owner="theirs")
    for job_id in (ours, theirs):
        finish_job(database, job_id)
    assert page(database.for_owner("ours"), filters, order=order) == [ours]
    assert page(database.for_owner("nobody"), filters, order=order) == []


def test_time_filters_apply_beyond_the_first_page(database: Database) -> None:
    ids = create(database, *(job_spec(seed=seed) for seed in range(6)))
    with database.read() as session:
        moments = [get_job(session, job_id).created_at for job_id in ids]
    filters = JobFilter(created_after=moments[0], created_before=moments[5])
    assert walk(database, filters, SortOrder(), 2) == ids[4:0:-1]
    assert walk(database, filters, SortOrder(descending=False), 2) == ids[1:5]
    # A bound that is nearer than the cursor goes before it.
    narrower = JobFilter(created_before=moments[2])
    assert page(database, narrower, after=Cursor(moments[5], ids[5])) == ids[1::-1]
    assert all(earlier < later for earlier, later in pairwise(moments))


# SQLite's readers see one snapshot throughout.
@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
@pytest.mark.usefixtures("database_settings")
def test_a_job_that_is_deleted_while_a_page_is_read_does_not_end_the_list(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [finish_job(database, job_id).id for job_id in create(database, *[job_spec()] * 4)]
    read = job_search.load_listed_jobs

    def deleted_before(session: Session, job_ids: Sequence[str], **kinds: bool) -> list[Row[Any]]:
        if ids[3] in job_ids:
            with database.write() as other:
                jobs.delete_job(other, ids[3])
        return read(session, job_ids, **kinds)

    monkeypatch.setattr(job_search, "load_listed_jobs", deleted_before)
    assert page(database, JobFilter(), limit=3) == ids[2::-1]
