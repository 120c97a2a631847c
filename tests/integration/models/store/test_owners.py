"""A session of one owner shows only that owner's rows, for every query."""

from collections.abc import Callable

import pytest
from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session, aliased

from models.errors import NotFound
from models.experiments import ExperimentSpec
from models.store import experiments, jobs, queue_positions
from models.store.database import Database
from models.store.experiment_runs import find_reusable_jobs
from models.store.job_search import JobFilter, find_jobs
from models.store.jobs import NewJob
from models.store.tables import Job, Result, Run
from models.store.transitions import get_job
from tests.factories import finish_job, job_spec


@pytest.fixture
def theirs(database: Database) -> str:
    """A succeeded job of `theirs` beside a waiting one of `ours`."""
    with database.write() as session:
        job, _ = jobs.create_jobs(session, [NewJob(job_spec(), "theirs"), NewJob(job_spec(seed=1), "ours")])
    return finish_job(database, job.id).id


def test_another_owners_job_is_not_found_by_its_id(database: Database, theirs: str) -> None:
    with database.for_owner("theirs").read() as session:
        assert get_job(session, theirs).owner == "theirs"
    with database.for_owner("ours").read() as session, pytest.raises(NotFound):
        get_job(session, theirs)


@pytest.mark.parametrize("verb", [jobs.cancel_job, jobs.pause_job, jobs.resume_job, jobs.retry_job])
def test_another_owners_job_is_not_found_by_any_action(
    database: Database, verb: Callable[[Session, str], object]
) -> None:
    with database.write() as session:
        (job,) = jobs.create_jobs(session, [NewJob(job_spec(), "theirs")])
    with pytest.raises(NotFound), database.for_owner("ours").write() as session:
        verb(session, job.id)


@pytest.mark.parametrize(
    "query",
    [
        select(Job.id),
        select(func.count()).select_from(Job),
        select(Result.job_id).join(Job, Job.id == Result.job_id),
        select(aliased(Job).id),
        select(Job.id).where(exists().where(Run.job_id == Job.id) | (Job.id != "")),
    ],
    ids=str,
)
def test_every_kind_of_query_excludes_other_owners_rows(
    database: Database, theirs: str, query: object
) -> None:
    with database.for_owner("nobody").read() as session:
        assert session.execute(query).scalars().all() in ([], [0])
    with database.for_owner("theirs").read() as session:
        assert session.execute(query).scalars().all() in ([theirs], [1])


def test_an_update_of_all_jobs_changes_only_the_owners(database: Database, theirs: str) -> None:
    with database.for_owner("ours").write() as session:
        session.execute(update(Job).values(name="mine"), execution_options={"synchronize_session": False})
    with database.read() as session:
        assert get_job(session, theirs).name != "mine"
        assert session.scalars(select(Job.owner).where(Job.name == "mine")).all() == ["ours"]


def test_lists_and_reuse_include_only_the_owners_jobs(database: Database, theirs: str) -> None:
    spec = job_spec()
    with database.for_owner("ours").read() as session:
        assert [job.owner for job in find_jobs(session, JobFilter(), after=None, limit=9)] == ["ours"]
    with database.read() as session:
        assert find_reusable_jobs(session, [spec], owner="ours") == {}
        assert find_reusable_jobs(session, [spec], owner="theirs") == {spec.spec_hash: theirs}


def test_the_queue_position_counts_the_jobs_of_all_owners(database: Database) -> None:
    with database.write() as session:
        _, job = jobs.create_jobs(session, [NewJob(job_spec(), "theirs"), NewJob(job_spec(), "ours")])
    with database.for_owner("ours").read() as session:
        assert queue_positions.get_queue_positions(session, [get_job(session, job.id)]) == {job.id: 2}


def test_jobs_added_to_an_experiment_belong_to_its_owner(database: Database) -> None:
    spec = ExperimentSpec.model_validate(
        {"name": "e", "base": job_spec().model_dump(mode="json"), "variants": [{"name": "a"}], "seeds": [0]}
    )
    more = spec.model_copy(update={"seeds": (0, 1)})
    with database.write() as session:
        experiment, _ = experiments.create_experiment(session, spec, preset=None, owner="ours")
        experiments.extend_experiment(session, experiment, more)
        assert session.scalars(select(Job.owner)).all() == ["ours", "ours"]
        (job, _) = session.scalars(select(Job.id)).all()
        jobs.cancel_job(session, job)
        retry, _ = jobs.retry_job(session, job)
        assert retry.owner == "ours"
