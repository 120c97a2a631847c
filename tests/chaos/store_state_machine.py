"""Random sequences of the store's operations, compared with the model after each step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from models.errors import Conflict, LeaseLost
from models.records import CheckpointRecord, Progress
from models.states import STATE_AFTER, Action, JobState, can_follow
from models.store import jobs, queue, queue_positions
from models.store.database import Database
from models.store.rescue import rescue_abandoned
from models.store.sql_functions import DatabaseNow
from models.store.tables import Epoch, Event, Job
from tests.chaos.storemodel import EPOCHS, Model, ModelJob, RecordedEvent
from tests.factories import epoch_record, job_spec, result_record

WORKERS = ("host:1", "host:2")
_RESULT = result_record()
_SPECS = {priority: job_spec(priority=priority, training={"epochs": EPOCHS}) for priority in (-1, 0, 1)}

Rows = list[tuple[Any, ...]]

# One byte selects the job among any number of candidates.
numbers = st.integers(0, 255)
priorities = st.lists(st.sampled_from([*_SPECS]), min_size=1, max_size=3)
actions = ["cancel", "pause", "resume"]
endings = st.sampled_from(["vanish", "stop", "fail", "succeed"])
leases = st.sampled_from([3600.0, 3600.0, -1.0])


@dataclass
class Score:
    """Counts over all sequences of a run."""

    sequences: int = 0
    steps: int = 0
    jobs: int = 0
    stale: int = 0
    """Writes of attempts that were over."""
    expired: int = 0
    """Leases that ran out."""


# What a worker may write, each for an attempt.
_WRITES: dict[str, Callable[[Session, str, int], object]] = {
    "renew": lambda session, job, attempt: queue.renew(
        session, job, attempt, lease_seconds=3600, progress=Progress(2, 0.5, 1.0)
    ),
    "hold": lambda session, job, attempt: queue.renew(session, job, attempt, lease_seconds=3600),
    "record_epoch": lambda session, job, attempt: queue.record_epoch(session, job, attempt, epoch_record(1)),
    "record_checkpoint": lambda session, job, attempt: queue.record_checkpoint(
        session, job, attempt, CheckpointRecord(1, "x", "0" * 64)
    ),
    "go_back": lambda session, job, attempt: queue.rewind_to_checkpoint(session, job, attempt, 0),
    "succeed": lambda session, job, attempt: queue.succeed(session, job, attempt, _RESULT),
    "fail": lambda session, job, attempt: queue.fail(
        session, job, attempt, code="x", message="x", retryable=True
    ),
    "stop": queue.stop,
}


class StoreMachine(RuleBasedStateMachine):
    """The rules. Every sequence begins with an empty database."""

    def __init__(self, database: Database, score: Score) -> None:
        super().__init__()
        self._database, self._score, self._model = database, score, Model()
        self._ended: dict[str, JobState] = {}
        score.sequences += 1
        with database.write() as session:
            session.execute(delete(Job))

    def _one(self, number: int, *states: JobState) -> ModelJob:
        candidates = self._model.those(lambda job: not states or job.state in states)
        return candidates[number % len(candidates)]

    def _any(self, *states: JobState) -> bool:
        return any(job.state in states for job in self._model.jobs)

    @contextmanager
    def _refused_unless(self, granted: bool) -> Iterator[None]:
        """The block must raise Conflict and change nothing, or, if granted, must not raise."""
        before = self._rows()
        try:
            yield
        except Conflict:
            assert not granted
            assert self._rows() == before
        else:
            assert granted

    # Owners.

    @initialize(priorities=priorities)
    def begin(self, priorities: list[int]) -> None:
        """Create jobs; Hypothesis chooses which rules a sequence uses."""
        self.create(priorities)
        self.claim_next(WORKERS[0], -1.0)
        self.rescue()
        self.wait()

    @precondition(lambda self: len(self._model.jobs) < 12)
    @rule(priorities=priorities)
    def create(self, priorities: list[int]) -> None:
        with self._database.write() as session:
            created = jobs.create_jobs(session, [jobs.NewJob(_SPECS[priority]) for priority in priorities])
        self._score.jobs += len(created)
        self._model.jobs += [ModelJob(job.id, job.priority) for job in created]

    @precondition(lambda self: self._model.jobs)
    @rule(number=numbers, action=st.sampled_from(actions))
    def request_action(self, number: int, action: str) -> None:
        self._request_action(self._one(number), action)

    def _request_action(self, job: ModelJob, action: str) -> None:
        request = {"cancel": jobs.cancel_job, "pause": jobs.pause_job, "resume": jobs.resume_job}[action]
        state, requested = job.state, job.requested
        granted = getattr(job, action)()
        assert granted or (job.state, job.requested) == (state, requested)
        with self._refused_unless(granted), self._database.write() as session:
            answer = request(session, job.id)
            assert (answer.state, answer.requested_action) == (job.state, job.requested)

    @precondition(lambda self: self._any(JobState.FAILED, JobState.CANCELLED))
    @rule(number=numbers)
    def retry(self, number: int) -> None:
        job = self._one(number, JobState.FAILED, JobState.CANCELLED)
        earlier = self._model.retry_of(job)
        with (
            self._refused_unless(not (earlier and earlier.state.terminal)),
            self._database.write() as session,
        ):
            new, is_new = jobs.retry_job(session, job.id)
            assert is_new == (earlier is None)
            assert earlier is None or new.id == earlier.id
            if is_new:
                self._model.jobs.append(job.retry(new.id))
                self._score.jobs += 1

    @precondition(lambda self: self._model.jobs)
    @rule(number=numbers)
    def delete(self, number: int) -> None:
        job = self._one(number)
        with self._refused_unless(job.state.terminal), self._database.write() as session:
            jobs.delete_job(session, job.id)
        if job.state.terminal:
            self._model.delete(job)

    # Workers.

    @rule(
        worker=st.sampled_from(WORKERS),
        epochs=st.integers(1, 3),
        checkpoint=st.booleans(),
        action=st.sampled_from([None, *actions]),
        ending=endings,
    )
    def work(self, worker: str, epochs: int, checkpoint: bool, action: str | None, ending: str) -> None:
        """The usual life of a job, as one rule, so that many sequences reach its end."""
        job = self._claim(worker, 3600.0)
        if job is None:
            return
        for epoch in range(1, epochs + 1):
            self._train(job, -1.0 if ending == "vanish" and epoch == epochs else 3600.0)
            if checkpoint and epoch == 1:
                self._keep(job)
        if action:
            self._request_action(job, action)
        if ending == "vanish":
            self.rescue()
        else:
            self._end(job, ending)

    @rule(worker=st.sampled_from(WORKERS), lease=leases)
    def claim_next(self, worker: str, lease: float) -> None:
        self._claim(worker, lease)

    def _claim(self, worker: str, lease: float) -> ModelJob | None:
        job = next((job for job in self._model.queue() if not job.delayed), None)
        with self._database.write() as session:
            claimed = queue.claim_next(session, owner=f"{worker}/7", lease_seconds=lease)
        assert (claimed.id if claimed else None) == (job.id if job else None)
        if job:
            job.claim(abandoned=lease < 0)
            job.worker = worker
        return job

    @precondition(lambda self: self._any(JobState.RUNNING))
    @rule(number=numbers, lease=leases)
    def train_an_epoch(self, number: int, lease: float) -> None:
        self._train(self._one(number, JobState.RUNNING), lease)

    def _train(self, job: ModelJob, lease: float) -> None:
        """What a lease's report does: renew, and the epoch's row, in one transaction."""
        epoch = len(job.epochs) % EPOCHS + 1  # the first again after the last: a write that is repeated
        with self._database.write() as session:
            progress = Progress(epoch, epoch / EPOCHS, 1.0)
            requested = queue.renew(session, job.id, job.attempt, lease_seconds=lease, progress=progress)
            queue.record_epoch(session, job.id, job.attempt, epoch_record(epoch))
        assert requested == job.requested
        job.epochs = sorted({*job.epochs, epoch})
        job.epochs_done, job.abandoned = epoch, lease < 0

    @precondition(lambda self: self._any(JobState.RUNNING))
    @rule(number=numbers)
    def hold(self, number: int) -> None:
        job = self._one(number, JobState.RUNNING)
        with self._database.write() as session:
            queue.renew(session, job.id, job.attempt, lease_seconds=3600.0)
        job.abandoned = False

    @precondition(lambda self: any(job.epochs and job.state is JobState.RUNNING for job in self._model.jobs))
    @rule(number=numbers)
    def record_checkpoint(self, number: int) -> None:
        running = self._model.those(lambda job: bool(job.epochs) and job.state is JobState.RUNNING)
        self._keep(running[number % len(running)])

    def _keep(self, job: ModelJob) -> None:
        job.checkpoint = job.epochs[-1]
        with self._database.write() as session:
            checkpoint = CheckpointRecord(job.checkpoint, f"epoch-{job.checkpoint}", "0" * 64)
            queue.record_checkpoint(session, job.id, job.attempt, checkpoint)

    @precondition(lambda self: self._any(JobState.RUNNING))
    @rule(number=numbers, ending=endings.filter(lambda ending: ending != "vanish"))
    def end(self, number: int, ending: str) -> None:
        self._end(self._one(number, JobState.RUNNING), ending)

    def _end(self, job: ModelJob, ending: str) -> None:
        with self._database.write() as session:
            _WRITES[ending](session, job.id, job.attempt)
        after = {
            "succeed": JobState.SUCCEEDED,
            "fail": JobState.FAILED,
            "stop": STATE_AFTER[job.requested or Action.RELEASE],
        }[ending]
        if ending == "succeed" and job.requested is not Action.CANCEL:
            job.epochs_done = _RESULT.epochs_run
        job.end(after)

    @precondition(lambda self: any(job.attempt for job in self._model.jobs))
    @rule(number=numbers, attempt=numbers, write=st.sampled_from([*_WRITES]))
    def write_too_late(self, number: int, attempt: int, write: str) -> None:
        """A worker that was presumed dead: its attempt or its job has ended."""
        begun = self._model.those(lambda job: job.attempt > 0)
        job = begun[number % len(begun)]
        over = job.attempt - (job.state is JobState.RUNNING)
        if not over:
            return
        before = self._rows()
        try:
            with self._database.write() as session:
                _WRITES[write](session, job.id, attempt % over + 1)
        except LeaseLost:
            assert self._rows() == before
        else:
            raise AssertionError(f"{write} of an attempt that is over was let through")
        self._score.stale += 1

    @rule(worker=st.sampled_from(WORKERS))
    def shut_down(self, worker: str) -> None:
        own = self._model.those(
            lambda job: job.state is JobState.RUNNING and job.worker == worker and job.requested is None
        )
        with self._database.write() as session:
            assert queue.release_all(session, worker) == len(own)
        for job in own:
            job.requested = Action.RELEASE

    # Time.

    @rule()
    def rescue(self) -> None:
        abandoned = self._model.those(lambda job: job.abandoned)
        with self._database.write() as session:
            rescued = rescue_abandoned(session)
        for job in abandoned:
            job.rescue()
        self._score.expired += len(abandoned)
        ended = {job.id for job in abandoned if job.state.terminal}
        assert sorted(rescued.ended + rescued.resumable) == sorted(ended)
        assert sorted(rescued.queued) == sorted(job.id for job in abandoned if job.id not in ended)

    @precondition(lambda self: any(job.delayed for job in self._model.jobs))
    @rule()
    def wait(self) -> None:
        """Until every backoff is over."""
        with self._database.write() as session:
            session.execute(update(Job).values(run_after=DatabaseNow(-1)))
        for job in self._model.jobs:
            job.delayed = False

    # Invariants after each step.

    @invariant()
    def the_database_says_what_the_model_says(self) -> None:
        self._score.steps += 1
        with self._database.read() as session:
            rows = {job.id: job for job in session.scalars(select(Job))}
            epochs = session.execute(select(Epoch.job_id, Epoch.epoch).order_by(Epoch.epoch)).all()
            events = session.scalars(select(Event).order_by(Event.id)).all()
            positions = queue_positions.get_queue_positions(session, [*rows.values()])
        assert rows.keys() == {job.id for job in self._model.jobs}
        assert positions == {job.id: position for position, job in enumerate(self._model.queue(), start=1)}
        for job in self._model.jobs:
            row = rows[job.id]
            assert (row.state, row.requested_action, row.attempt) == (job.state, job.requested, job.attempt)
            assert (row.crashes, row.retry_of) == (job.crashes, job.retry_of)
            assert (row.checkpoint_epoch, row.epochs_done) == (job.checkpoint, job.epochs_done)
            assert (row.result is not None) == (job.state is JobState.SUCCEEDED)
            assert (row.lease_owner is not None) == (job.state is JobState.RUNNING)
            assert [number for job_id, number in epochs if job_id == job.id] == job.epochs
            _check_history([event for event in events if event.job_id == job.id], job)

    @invariant()
    def an_end_is_final(self) -> None:
        ended = {job.id: job.state for job in self._model.jobs if job.state.terminal}
        assert all(ended.get(job_id, state) == state for job_id, state in self._ended.items())
        self._ended = ended

    def _rows(self) -> Rows:
        """Every row that a write might change."""
        with self._database.read() as session:
            return [
                tuple(row)
                for table in (Job.__table__, Epoch.__table__, Event.__table__)
                for row in session.execute(select(table).order_by(*table.primary_key))
            ]


def _check_history(events: list[Event], job: ModelJob) -> None:
    """The events are the model's; transitions follow one another, are legal, and end at most once."""
    recorded: list[RecordedEvent] = [
        (event.type, event.from_state, event.to_state, event.attempt) for event in events
    ]
    assert recorded == job.events
    moves = [(before, after) for _, before, after, _ in recorded if after]
    for (_, reached), (before, after) in pairwise(moves):
        assert reached == before
        assert before is not None
        assert after is not None
        assert can_follow(JobState(before), JobState(after))
    assert sum(JobState(after).terminal for _, after in moves if after) <= 1
    assert [attempt for kind, *_, attempt in recorded if kind == "running"] == [*range(1, job.attempt + 1)]
