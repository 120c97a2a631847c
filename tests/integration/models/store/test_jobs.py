"""Jobs as their owners see them: the same tests on both databases."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event as Signal

import pytest
from sqlalchemy import func, select

from models.errors import Conflict, NotFound
from models.records import Progress
from models.spec import JobSpec
from models.states import JobState
from models.store import job_search, jobs, queue, queue_positions
from models.store.database import Database
from models.store.job_search import Cursor, JobFilter
from models.store.jobs import NewJob
from models.store.tables import Epoch, Event, Job, Result
from tests.factories import epoch_record, finished_job, job_in, job_spec


def create(database: Database, *specs: JobSpec) -> list[Job]:
    with database.write() as session:
        return jobs.create_jobs(session, [NewJob(spec) for spec in specs or (job_spec(),)])


def find(
    database: Database, filters: JobFilter | None = None, *, after: Cursor | None = None, limit: int = 50
) -> list[str]:
    with database.read() as session:
        rows = job_search.find_jobs(session, filters or JobFilter(), after=after, limit=limit)
        return [job.id for job in rows]


def test_a_new_job_is_queued_with_its_first_event(database: Database) -> None:
    spec = job_spec(name="é", labels={"team": "a"}, priority=3, seed=7, training={"epochs": 4})
    [new] = create(database, spec)
    with database.read() as session:
        job = jobs.get_job(session, new.id)
        [event] = jobs.get_events(session, new.id)
    assert (job.state, job.name, job.labels, job.priority) == ("queued", "é", {"team": "a"}, 3)
    assert (job.seed, job.epochs, job.dataset) == (7, 4, "mnist_5k")
    assert (job.attempt, job.crashes, job.version, job.fraction) == (0, 0, 1, 0.0)
    assert JobSpec.model_validate(job.spec) == spec
    assert job.spec_hash == spec.spec_hash
    assert job.created_at.utcoffset() == timedelta(0)
    assert (event.type, event.from_state, event.to_state) == ("queued", None, "queued")


def test_the_returned_job_equals_the_stored_one(database: Database) -> None:
    [new] = create(database)
    with database.read() as session:
        stored = jobs.get_job(session, new.id)
    for column in Job.__table__.columns.keys():  # noqa: SIM118 (a column collection iterates over columns)
        assert getattr(new, column) == getattr(stored, column), column


def test_a_missing_job_raises_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match="job_none"), database.read() as session:
        jobs.get_job(session, "job_none")


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.PAUSED])
def test_a_queued_job_is_cancelled_immediately(database: Database, state: JobState) -> None:
    job_id = job_in(database, state)
    with database.write() as session:
        job = jobs.cancel_job(session, job_id)
    assert job.state == JobState.CANCELLED
    assert job.finished_at is not None
    with database.read() as session:
        event = jobs.get_events(session, job_id)[-1]
    assert (event.type, event.from_state, event.to_state) == ("cancelled", state, "cancelled")


def test_a_running_job_is_requested_to_stop(database: Database) -> None:
    job_id = job_in(database, JobState.RUNNING)
    with database.write() as session:
        job = jobs.cancel_job(session, job_id)
    assert (job.state, job.requested_action, job.version) == ("running", "cancel", 3)
    with database.read() as session:
        assert jobs.get_events(session, job_id)[-1].type == "cancel_requested"


def test_a_job_that_is_released_at_the_same_time_is_still_cancelled(database: Database) -> None:
    job_id = job_in(database, JobState.RUNNING)
    begun = Signal()

    def cancel() -> str:
        begun.set()
        with database.write() as session:
            return jobs.cancel_job(session, job_id).state

    with ThreadPoolExecutor(1) as owner:
        with database.write() as session:
            queue.stop(session, job_id, 1)
            cancelled = owner.submit(cancel)
            assert begun.wait(30)
            # The other should wait for the lock by now; if it comes later, the test still holds.
            time.sleep(0.2)
        assert cancelled.result() == JobState.CANCELLED


@pytest.mark.parametrize("state", [state for state in JobState if state.terminal])
def test_an_ended_job_cannot_be_cancelled(database: Database, state: JobState) -> None:
    job_id = job_in(database, state)
    with pytest.raises(Conflict, match=f"already {state}"), database.write() as session:
        jobs.cancel_job(session, job_id)


def test_a_missing_job_can_be_neither_cancelled_nor_deleted(database: Database) -> None:
    for change in (jobs.cancel_job, jobs.delete_job):
        with pytest.raises(NotFound), database.write() as session:
            change(session, "job_none")


@pytest.mark.parametrize("state", list(JobState))
def test_only_an_ended_job_is_deleted(database: Database, state: JobState) -> None:
    job_id = job_in(database, state)
    if state.terminal:
        with database.write() as session:
            assert jobs.delete_job(session, job_id).id == job_id
        assert find(database) == []
    else:
        with pytest.raises(Conflict, match="cancel it before"), database.write() as session:
            jobs.delete_job(session, job_id)
        assert find(database) == [job_id]


def test_deleting_a_job_deletes_only_its_own_history_and_result(database: Database) -> None:
    goes, stays = finished_job(database), finished_job(database)
    with database.write() as session:
        deleted = jobs.delete_job(session, goes.id)
    assert deleted.result is not None, "its artifacts' names are needed to remove them"
    with database.read() as session:
        for table in (Epoch, Event, Result):
            owners = set(session.scalars(select(table.job_id)))
            assert owners == {stays.id}, table.__tablename__


def test_jobs_are_listed_newest_first_and_in_order_within_a_transaction(database: Database) -> None:
    first = [job.id for job in create(database, job_spec(seed=1), job_spec(seed=2))]
    second = [job.id for job in create(database, job_spec(seed=3), job_spec(seed=4))]
    # Two transactions may fall into one tick of SQLite's clock: a millisecond.
    listed = find(database)
    assert [job_id for job_id in listed if job_id in first] == first[::-1]
    assert [job_id for job_id in listed if job_id in second] == second[::-1]


def test_pages_contain_each_job_once_while_jobs_are_added(database: Database) -> None:
    expected = [job.id for job in create(database, *(job_spec(seed=seed) for seed in range(7)))][::-1]
    seen: list[str] = []
    after = None
    while True:
        with database.read() as session:
            page = job_search.find_jobs(session, JobFilter(), after=after, limit=3)
        if not page:
            break
        seen += [job.id for job in page]
        after = Cursor(page[-1].created_at, page[-1].id)
        create(database)
    assert seen == expected


def test_jobs_created_at_the_same_time_are_paged_by_id(database: Database) -> None:
    create(database, *(job_spec(seed=seed) for seed in range(4)))
    with database.write() as session:
        moment = session.scalar(select(func.max(Job.created_at)))
        for job in session.scalars(select(Job)):
            job.created_at = moment
    everything = find(database)
    assert len(everything) == 4
    assert find(database, after=Cursor(moment, everything[1])) == everything[2:]


class TestFilters:
    """Every filter must match; of several states or techniques, any one."""

    def test_by_state(self, database: Database) -> None:
        ids = {state: job_in(database, state) for state in JobState}
        for state in JobState:
            assert find(database, JobFilter(states=[state])) == [ids[state]]
        two = JobFilter(states=[JobState.QUEUED, JobState.FAILED])
        assert set(find(database, two)) == {ids[JobState.QUEUED], ids[JobState.FAILED]}

    def test_by_technique(self, database: Database) -> None:
        specs = {
            "none": {},
            "dropout": {"dropout": {}},
            "l2": {"l2": {}},
            "both": {"dropout": {"rate": 0.2}, "l2": {}},
        }
        new = create(database, *(job_spec(regularization=techniques) for techniques in specs.values()))
        ids = dict(zip(specs, (job.id for job in new), strict=True))

        def names(*techniques: str) -> set[str]:
            matching = find(database, JobFilter(techniques=techniques))
            return {name for name, job_id in ids.items() if job_id in matching}

        assert names("dropout") == {"dropout", "both"}
        assert names("dropout", "l2") == {"dropout", "l2", "both"}
        assert names("l1") == set()
        assert names() == set(specs)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("team", "a"),
            ("a-b", "c.d e"),
            ("with space", ""),
            ('a "quoted" name', 'a "quoted" value'),
            ("it's", "100%"),
            ("$[0]", "\\"),
            ("back\\slash", "x"),
            ("é", "ü"),
            ("0", "0"),
        ],
    )
    def test_by_label(self, database: Database, name: str, value: str) -> None:
        [labelled, *_] = create(
            database,
            job_spec(labels={name: value, "other": "x"}),
            job_spec(labels={name: value + "!"}),
            job_spec(labels={"another": value}),
            job_spec(),
        )
        assert find(database, JobFilter(labels=[(name, value)])) == [labelled.id]

    def test_by_dataset(self, database: Database) -> None:
        small, _large = create(database, job_spec(), job_spec(dataset={"name": "mnist"}))
        assert find(database, JobFilter(datasets=["mnist_5k"])) == [small.id]

    def test_by_time(self, database: Database) -> None:
        one, two, three = create(database, *(job_spec(seed=seed) for seed in range(3)))
        assert find(database, JobFilter(created_after=two.created_at)) == [three.id]
        assert find(database, JobFilter(created_before=two.created_at)) == [one.id]
        both = JobFilter(created_after=one.created_at, created_before=three.created_at)
        assert find(database, both) == [two.id]

    def test_all_filters_must_match(self, database: Database) -> None:
        labels = {"team": "a"}
        create(database, job_spec(labels=labels))
        [matching] = create(database, job_spec(labels=labels, dataset={"name": "mnist"}))
        filters = JobFilter(states=[JobState.QUEUED], datasets=["mnist"], labels=[("team", "a")])
        assert find(database, filters) == [matching.id]


def test_queue_positions_count_all_jobs_ahead(database: Database) -> None:
    new = create(database, job_spec(), job_spec(priority=1), job_spec(), job_spec(priority=-1))
    running = job_in(database, JobState.RUNNING)
    with database.read() as session:
        requested = [jobs.get_job(session, job_id) for job_id in (new[0].id, new[2].id, new[3].id, running)]
        positions = queue_positions.get_queue_positions(session, requested)
    assert positions == {new[0].id: 2, new[2].id: 3, new[3].id: 4}


def test_without_queued_jobs_there_are_no_positions(database: Database) -> None:
    with database.read() as session:
        assert queue_positions.get_queue_positions(session, []) == {}


def test_the_history_after_an_epoch(database: Database) -> None:
    job_id = finished_job(database, epochs=4).id
    with database.read() as session:
        assert [epoch.epoch for epoch in jobs.get_epochs(session, job_id)] == [1, 2, 3, 4]
        assert [epoch.epoch for epoch in jobs.get_epochs(session, job_id, after=2)] == [3, 4]
        assert jobs.get_epochs(session, job_id, after=4) == []


def test_every_transition_of_a_job_is_an_event_in_order(database: Database) -> None:
    [job] = create(database)
    progress = Progress(1, 0.5, 1.0)
    for attempt in (1, 2):
        with database.write() as session:
            queue.claim(session, job.id, owner="worker", lease_seconds=30)
            queue.renew(session, job.id, attempt, lease_seconds=30, progress=progress)
            queue.record_epoch(session, job.id, attempt, epoch_record(1))
        with database.write() as session:
            if attempt == 2:
                jobs.cancel_job(session, job.id)
            queue.stop(session, job.id, attempt)
    with database.read() as session:
        events = jobs.get_events(session, job.id)
        version = jobs.get_job(session, job.id).version
    assert events.pop(-2).type == "cancel_requested"
    states = [JobState.QUEUED, *(event.to_state for event in events[1:])]
    assert states == ["queued", "running", "queued", "running", "cancelled"]
    assert [event.from_state for event in events] == [None, *states[:-1]]
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert version == 1 + 4 + 2 + 1, "one more for each transition, each heartbeat and each requested action"


def test_queue_positions_of_a_page_are_those_of_the_whole_queue(database: Database) -> None:
    specs = [job_spec(seed=seed, priority=(seed * 7) % 3 - 1) for seed in range(12)]
    new = create(database, *specs)
    line = sorted(new, key=lambda job: (-job.priority, job.created_at, job.id))
    expected = {job.id: position for position, job in enumerate(line, 1)}
    with database.read() as session:
        for page in (new, new[::2], new[5:7], new[:1], line[-1:], line[3:9:2]):
            places = queue_positions.get_queue_positions(session, page)
            assert places == {job.id: expected[job.id] for job in page}
        assert [queue_positions.get_queue_position(session, job.id) for job in line] == [*range(1, 13)]
