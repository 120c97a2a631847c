"""Experiments in the store: the same tests on both databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pytest
from sqlalchemy import event, func, select

from models.errors import NotFound
from models.experiments import ExperimentSpec
from models.records import Progress
from models.run_key import Purpose, RunKey, format_point, name_row
from models.selection import VariantMeans
from models.spec import JobSpec
from models.states import JobState
from models.store import experiment_runs, experiments, jobs, queue
from models.store.database import Database
from models.store.experiment_search import find_experiments
from models.store.experiments import ExperimentProgress, ExperimentProgressCache
from models.store.job_search import Cursor, JobFilter, find_jobs
from models.store.rescue import find_undispatched_jobs
from models.store.tables import Experiment, Job, Run
from tests.factories import finish_job, job_spec, result_record


def experiment_spec(**fields: Any) -> ExperimentSpec:
    document: dict[str, Any] = {
        "name": "dropout or not",
        "base": job_spec(training={"epochs": 2}).model_dump(mode="json"),
        "variants": [{"name": "none"}, {"name": "dropout", "changes": {"regularization": {"dropout": {}}}}],
        "replicates": 2,
    }
    return ExperimentSpec.model_validate(document | fields)


def create(database: Database, spec: ExperimentSpec | None = None) -> tuple[str, list[str]]:
    """Ids of an experiment and of its jobs: none, dropout (seed 0), none, dropout (seed 1)."""
    with database.write() as session:
        experiment, new = experiments.create_experiment(session, spec or experiment_spec(), preset=None)
    return experiment.id, [job.id for job in new]


def progress(database: Database, experiment_id: str) -> ExperimentProgress:
    with database.read() as session:
        return experiments.get_progress(session, [experiment_id])[experiment_id]


def test_an_experiment_comes_with_all_its_jobs(database: Database) -> None:
    experiment_id, job_ids = create(database)
    with database.read() as session:
        stored = experiments.get_experiment(session, experiment_id)
        runs = [run.job for run in experiment_runs.get_runs(session, experiment_id)]
        waiting = find_undispatched_jobs(session, older_than_seconds=30, limit=100)
    assert [job.id for job in runs] == job_ids == waiting
    assert [(job.variant, job.seed) for job in runs] == [
        ("none", 0),
        ("dropout", 0),
        ("none", 1),
        ("dropout", 1),
    ]
    document = ExperimentSpec.model_validate(stored.document)
    assert document.seeds == (0, 1)
    assert document.build_runs() == experiment_spec().build_runs()


def test_an_experiment_is_stored_completely_or_not_at_all(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as session:  # noqa: PT012 (the end of the block is tested)
        experiments.create_experiment(session, experiment_spec(), preset=None)
        raise RuntimeError("the API's host stops here")
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Experiment)) == 0
        assert session.scalar(select(func.count()).select_from(Job)) == 0


def test_a_missing_experiment_raises_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match="exp_none"), database.read() as session:
        experiments.get_experiment(session, "exp_none")


def test_pages_contain_each_experiment_once(database: Database) -> None:
    created = {create(database)[0] for _ in range(5)}
    seen: list[str] = []
    after = None
    with database.read() as session:
        while page := find_experiments(session, after=after, limit=2):
            seen += [experiment.id for experiment in page]
            after = Cursor(page[-1].created_at, page[-1].id)
    assert len(seen) == 5
    assert set(seen) == created


class TestProgress:
    """An experiment's progress."""

    def test_before_any_job_has_started(self, database: Database) -> None:
        experiment_id, _ = create(database)
        assert progress(database, experiment_id) == ExperimentProgress(
            counts={JobState.QUEUED: 4},
            reused=0,
            fraction=0.0,
            remaining_seconds=None,
            means=(),
        )

    def test_half_way_through(self, database: Database) -> None:
        experiment_id, job_ids = create(database)
        result = result_record(training_seconds=8.0, compile_seconds=2.0, test_accuracy=0.9)
        finish_job(database, job_ids[0], result=result, epochs=2)
        with database.write() as session:
            queue.claim(session, job_ids[1], owner="worker", lease_seconds=30)
            half_way = Progress(1, 0.5, 4.0)
            queue.renew(session, job_ids[1], 1, lease_seconds=30, progress=half_way)
        now = progress(database, experiment_id)
        assert now.counts == {JobState.SUCCEEDED: 1, JobState.RUNNING: 1, JobState.QUEUED: 2}
        assert now.total == 4
        assert now.fraction == pytest.approx((1 + 0.5) / 4)
        assert now.remaining_seconds == pytest.approx(4.0 + 2 * 8.0 + 2.0)  # one variant still compiles
        assert now.means == (VariantMeans("none", 1, 0.11, 0.9),)
        assert not now.finished

    def test_all_jobs_succeeded(self, database: Database) -> None:
        experiment_id, job_ids = create(database)
        for number, job_id in enumerate(job_ids):
            accuracy, loss = ((0.91, 0.2), (0.95, 0.1), (0.92, 0.4), (0.93, None))[number]
            result = result_record(test_accuracy=accuracy, validation_loss=loss)
            finish_job(database, job_id, result=result, epochs=2)
        now = progress(database, experiment_id)
        assert now.finished
        assert (now.fraction, now.remaining_seconds) == (1.0, 0.0)
        dropout, none = now.means
        assert (dropout.seeds, dropout.test_accuracy) == (2, pytest.approx(0.94))
        assert dropout.validation_loss is None, "one of its models was not validated"
        assert (none.seeds, none.validation_loss) == (2, pytest.approx(0.3))

    def test_all_jobs_ended_without_a_result(self, database: Database) -> None:
        experiment_id, job_ids = create(database)
        with database.write() as session:
            for job_id in job_ids[:3]:
                jobs.cancel_job(session, job_id)
            queue.claim(session, job_ids[3], owner="worker", lease_seconds=30)
            queue.fail(session, job_ids[3], 1, code="oops", message="Oops.", retryable=False)
        now = progress(database, experiment_id)
        assert now.finished
        assert now.counts == {JobState.CANCELLED: 3, JobState.FAILED: 1}
        assert (now.fraction, now.remaining_seconds, now.means) == (1.0, 0.0, ())

    def test_a_paused_job_is_unfinished(self, database: Database) -> None:
        experiment_id, job_ids = create(database)
        for job_id in job_ids[:3]:
            result = result_record(training_seconds=8.0, compile_seconds=2.0)
            finish_job(database, job_id, result=result, epochs=2)
        with database.write() as session:
            jobs.pause_job(session, job_ids[3])
        now = progress(database, experiment_id)
        assert not now.finished
        assert now.remaining_seconds == pytest.approx(8.0)

    def test_experiments_do_not_mix(self, database: Database) -> None:
        (one, one_jobs), (other, _) = create(database), create(database)
        finish_job(database, one_jobs[0], epochs=2)
        with database.read() as session:
            both = experiments.get_progress(session, [one, other])
        assert (both[one].fraction, both[other].fraction) == (0.25, 0.0)
        assert both[other].means == ()

    def test_the_number_of_queries_does_not_grow(self, database: Database) -> None:
        few = [create(database)[0]]
        many = few + [create(database, experiment_spec(replicates=5))[0] for _ in range(4)]

        def queries(ids: list[str]) -> int:
            with counted(database) as statements, database.read() as session:
                experiments.get_progress(session, ids)
            return len(statements)

        assert queries(many) == queries(few)


class TestProgressCache:
    """The cached progress of finished experiments."""

    def test_only_a_finished_experiment_is_cached(self, database: Database) -> None:
        (one, one_jobs), (other, other_jobs) = create(database), create(database)
        for job_id in (*one_jobs, *other_jobs[:3]):
            finish_job(database, job_id, epochs=2)
        cache = ExperimentProgressCache()
        with database.read() as session:
            first = cache.get(session, [one, other])
            assert first == experiments.get_progress(session, [one, other])
        with counted(database) as statements, database.read() as session:
            assert cache.get(session, [one]) == {one: first[one]}
        assert len(statements) == 1
        finish_job(database, other_jobs[3], epochs=2)
        with database.read() as session:
            assert cache.get(session, [one, other])[other].finished

    @pytest.mark.parametrize("what", ["retried", "deleted"])
    def test_other_jobs_change_the_progress(self, database: Database, what: str) -> None:
        experiment_id, job_ids = create(database)
        for job_id in job_ids[:3]:
            finish_job(database, job_id, epochs=2)
        with database.write() as session:
            jobs.cancel_job(session, job_ids[3])
        cache = ExperimentProgressCache()
        with database.read() as session:
            assert cache.get(session, [experiment_id])[experiment_id].finished
        with database.write() as session:
            if what == "retried":
                jobs.retry_job(session, job_ids[3])
            else:
                jobs.delete_job(session, job_ids[3])
        with database.read() as session:
            now = cache.get(session, [experiment_id])[experiment_id]
        assert now == progress(database, experiment_id)
        assert now.finished == (what == "deleted")
        assert now.total == (3 if what == "deleted" else 4)

    def test_the_oldest_entries_are_evicted(self, database: Database) -> None:
        created = [create(database) for _ in range(2)]
        for _, job_ids in created:
            for job_id in job_ids:
                finish_job(database, job_id, epochs=2)
        cache = ExperimentProgressCache(most=1)
        with database.read() as session:
            for experiment_id, _ in created:
                cache.get(session, [experiment_id])
        with counted(database) as statements, database.read() as session:
            cache.get(session, [created[1][0]])
            assert len(statements) == 1
            cache.get(session, [created[0][0]])
            assert len(statements) > 2


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The SELECT statements of the block."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield statements
    event.remove(database.engine, "before_cursor_execute", note)


def test_jobs_of_an_experiment_come_in_one_query_with_their_results(database: Database) -> None:
    experiment_id, job_ids = create(database)
    finish_job(database, job_ids[0], epochs=2)
    with counted(database) as statements, database.read() as session:
        runs = [run.job for run in experiment_runs.get_runs(session, experiment_id)]
        assert [job.result is not None for job in runs] == [True, False, False, False]
    assert len(statements) == 1


def test_a_retry_replaces_the_job_that_it_repeats(database: Database) -> None:
    experiment_id, (first, *others) = create(database)
    with database.write() as session:
        jobs.cancel_job(session, first)
        retry, _ = jobs.retry_job(session, first)
    assert progress(database, experiment_id).counts == {JobState.QUEUED: 4}
    finish_job(database, retry.id)
    assert progress(database, experiment_id).counts == {JobState.QUEUED: 3, JobState.SUCCEEDED: 1}
    with database.read() as session:
        runs = [run.job for run in experiment_runs.get_runs(session, experiment_id)]
    assert {job.id for job in runs} == {retry.id, *others}
    assert {(job.variant, job.seed) for job in runs} == {
        (variant, seed) for variant in ("none", "dropout") for seed in (0, 1)
    }


def is_extended(database: Database, experiment_id: str) -> bool:
    with database.read() as session:
        return experiments.get_experiment(session, experiment_id).extended


def extend(database: Database, experiment_id: str, *, planned: bool = False, **fields: Any) -> None:
    with database.write() as session:
        experiment = experiments.lock_experiment(session, experiment_id)
        experiments.extend_experiment(session, experiment, experiment_spec(**fields), planned=planned)


def fail_job(database: Database, job_id: str) -> None:
    with database.write() as session:
        claimed = queue.claim(session, job_id, owner="test", lease_seconds=30)
        assert claimed is not None
        queue.fail(
            session, job_id, claimed.attempt, code="diverged", message="the loss is NaN", retryable=False
        )


def test_seeds_that_are_added_when_there_are_results_change_the_plan(database: Database) -> None:
    experiment_id, job_ids = create(database)
    extend(database, experiment_id, replicates=3)
    assert not is_extended(database, experiment_id), "nobody can have looked at results"
    finish_job(database, job_ids[0])
    extend(database, experiment_id, replicates=4, planned=True)
    assert not is_extended(database, experiment_id), "a stopping rule is part of the plan"
    extend(database, experiment_id, replicates=5)
    assert is_extended(database, experiment_id)


def test_variants_that_are_added_when_there_are_results_change_the_plan(database: Database) -> None:
    experiment_id, job_ids = create(database)
    finish_job(database, job_ids[0])
    variants = [{"name": name} for name in ("none", "dropout", "none again")]
    extend(database, experiment_id, variants=variants)
    assert is_extended(database, experiment_id)


def test_retrying_a_failed_job_changes_a_plan_that_was_complete(database: Database) -> None:
    experiment_id, (first, *others) = create(database)
    fail_job(database, first)
    for job_id in others[:-1]:
        finish_job(database, job_id)
    with database.write() as session:
        retry, _ = jobs.retry_job(session, first)
    assert not is_extended(database, experiment_id), "no report has judged the plan yet"
    finish_job(database, others[-1])
    fail_job(database, retry.id)
    with database.write() as session:
        jobs.retry_job(session, retry.id)
    assert is_extended(database, experiment_id)


def test_a_plan_without_any_result_may_be_retried(database: Database) -> None:
    experiment_id, job_ids = create(database)
    for job_id in job_ids:
        fail_job(database, job_id)
    with database.write() as session:
        jobs.retry_job(session, job_ids[0])
    assert not is_extended(database, experiment_id)


def test_runs_of_one_variant_and_seed_differ_in_point_part_and_purpose(database: Database) -> None:
    experiment_id, _ = create(database)
    point = format_point({"/dataset/train_samples": 500, "/model/activation": "relu"})
    keys = [
        RunKey("none", 0, point),
        RunKey("none", 0, part=1),
        RunKey("none", 0, point, 1, Purpose.TUNE),
    ]
    with database.write() as session:
        first = experiment_runs.get_runs(session, experiment_id)[0]
        spec = JobSpec.model_validate(first.job.spec)
        experiment = experiments.get_experiment(session, experiment_id)
        new = experiment_runs.add_runs(session, experiment, [(key, spec) for key in keys], reuse=False)
        names = [job.name for job in new]
        # They stand for another experiment too, under the names that they have there.
        other, _ = experiments.create_experiment(session, experiment_spec(name="other"), preset=None)
        session.add_all(
            Run(experiment_id=other.id, **asdict(key), job_id=job.id, reused=True)
            for key, job in zip(keys, new, strict=True)
        )
    with database.read() as session:
        runs = experiment_runs.get_runs(session, experiment_id)
        groups = experiment_runs.group_parts(runs, "none")
        rows = find_jobs(session, JobFilter(experiment_ids=(other.id,)), after=None, limit=10)
    assert [run.key for run in runs][4:] == keys
    assert {place: [run.key.part for run in group] for place, group in groups.items()} == {
        ("", 0): [-1, 1],
        ("", 1): [-1],
        (point, 0): [-1, 1],
    }
    assert names == [spec.name] * 3
    linked = [row for row in rows if row.id in {job.id for job in new}]
    assert [RunKey.from_row(row) for row in linked] == keys[::-1]
    assert [name_row(row) for row in linked] == [key.name for key in keys[::-1]]
    assert keys[2].name == "none, seed 0, 500 training examples, activation relu, part 1"
