"""One job from claim to end, in a process that keeps TensorFlow and compiled programs warm for the next."""

import logging
import os
import time
from collections.abc import Callable
from typing import TypeVar

from models.artifacts import ArtifactStore
from models.dataset_arrays import load_specified
from models.errors import (
    ArtifactsUnavailable,
    InvalidSpec,
    LeaseLost,
    ServiceUnavailable,
    TrainingFailed,
)
from models.logs import log_context
from models.records import CheckpointRecord, Progress, ResultRecord
from models.settings import Settings
from models.spec import STORED, JobSpec
from models.states import JobState
from models.store import queue
from models.store.database import Database
from models.store.tables import Job
from models.tracing import trace_job
from worker.artifacts import save_artifacts
from worker.checkpoints import Checkpoints
from worker.datasets import split_dataset
from worker.engine import OUT_OF_MEMORY, start_engine
from worker.lease import Interrupted, Lease, get_worker_name
from worker.program import ProgramCache
from worker.training import train

log = logging.getLogger(__name__)

# How long, in leases, an object store that is away is waited for, and how long between two attempts.
_LEASES_TO_RETRY = 20
_RETRY_SECONDS = 1.0

T = TypeVar("T")


class Runner:
    """What a training process keeps between jobs: connections, engine, compiled programs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings)
        self._store = ArtifactStore(settings)
        self._engine = start_engine(settings.training_threads)
        self._programs = ProgramCache()
        self._name = f"{get_worker_name(os.getppid())}/{os.getpid()}"

    def close(self) -> None:
        """Close the database's connections."""
        self._database.close()

    def run_next(self) -> bool:
        """Claim the next job, train it and end it; returns False if there is none to claim."""
        try:
            with self._database.write() as session:
                job = queue.claim_next(
                    session,
                    owner=self._name,
                    lease_seconds=self._settings.lease_seconds,
                    max_running=self._settings.max_running_jobs,
                )
        except ServiceUnavailable as error:
            log.warning("no job claimed: %s", error.message)  # the sweeper sends its message again
            return False
        if job is None:
            log.info("no job to claim: another worker has it, or it has ended")
            return False
        fields = {
            "job_id": job.id,
            "attempt": job.attempt,
            "experiment_id": job.experiment_id,
            "owner": job.owner,
            "request_id": job.request_id,
        }
        with log_context(**fields), trace_job(job.traceparent, fields):
            self._run(job)
        return True

    def _run(self, job: Job) -> None:
        log.info("job %s, attempt %d: %s", job.id, job.attempt, job.name or "unnamed")
        checkpoints = Checkpoints(
            self._store,
            job.id,
            job.attempt,
            spec_hash=job.spec_hash,
            engine=self._engine,
            every_seconds=self._settings.checkpoint_seconds,
        )
        lease = Lease(
            self._database, self._settings, job.id, job.attempt, checkpoints, pause_after=job.pause_after
        )
        try:
            if self._train(job, lease, checkpoints).terminal and not lease.failed_retryably:
                self._store.delete_checkpoints(job.id)
        except LeaseLost as lost:
            log.warning("%s Its training stops here.", lost.message)
        except ServiceUnavailable as error:
            log.warning("job %s is left to another worker: %s", job.id, error.message)

    def _train(self, job: Job, lease: Lease, checkpoints: Checkpoints) -> JobState:
        """Train a job and record how it ended; returns its state.

        Raises:
            LeaseLost: another worker holds it, or it has ended.
            ServiceUnavailable: the database could not be reached for longer than writing the end is retried.
        """
        try:
            with lease.keep_alive():
                return self._train_and_save(job, lease, checkpoints)
        except (Interrupted, ArtifactsUnavailable):
            # Of an object store that is away: for a worker that reaches it, at the last checkpoint.
            return lease.stop()
        except (LeaseLost, ServiceUnavailable):
            raise
        except TrainingFailed as failure:
            return lease.fail(failure.code, failure.message, retryable=failure.retryable)
        except InvalidSpec as fault:
            return lease.fail(fault.code, fault.message, retryable=True)
        except OUT_OF_MEMORY:
            advice = "Use a smaller model or a smaller training.batch_size."
            message = f"The worker ran out of memory. {advice}"
            return lease.fail("out_of_memory", message, retryable=False)
        except Exception as error:
            # Whatever it is, the job must not stay in `running`; the traceback is in the log.
            log.exception("job %s failed unexpectedly", job.id)
            # Its first line only: a database's error continues with the whole statement.
            reason = str(error).partition("\n")[0]
            return lease.fail("internal_error", f"{type(error).__name__}: {reason}", retryable=True)

    def _train_and_save(self, job: Job, lease: Lease, checkpoints: Checkpoints) -> JobState:
        spec, checkpoint = JobSpec.model_validate(job.spec, context=STORED), None
        waiting = Progress(job.epochs_done, job.fraction, None)
        if job.checkpoint_epoch:
            record = CheckpointRecord(
                job.checkpoint_epoch, job.checkpoint_path or "", job.checkpoint_sha256 or ""
            )
            checkpoint = self._wait_for_store(lease, waiting, lambda: checkpoints.load_newest(record))
            epoch = checkpoint.epoch if checkpoint else 0
            if epoch < record.epoch:
                lease.rewind_to_checkpoint(epoch)
            log.info("job %s resumes after epoch %d", job.id, epoch)
            if epoch == job.pause_after:
                return lease.stop()  # its last worker had only this left to do
        dataset = self._wait_for_store(
            lease, waiting, lambda: load_specified(spec.dataset, self._settings, self._store)
        )
        split = split_dataset(dataset, spec.dataset)
        trained = train(
            spec,
            split,
            lease,
            programs=self._programs,
            chunk_seconds=self._settings.chunk_seconds,
            resume_from=checkpoint,
        )
        try:
            saved = self._wait_for_store(
                lease,
                Progress(trained.evaluation.epochs_run, 1.0, 0.0),
                lambda: save_artifacts(
                    self._store, job.id, job.attempt, trained.model, trained.test_predictions
                ),
            )
        except OSError as error:
            advice = "Free some space at REGBENCH_ARTIFACTS_URL, then retry the job."
            message = f"The model could not be stored: {error.strerror or error}. {advice}"
            raise TrainingFailed("artifacts_unwritable", message, retryable=True) from error
        result = ResultRecord(
            **vars(trained.evaluation) | vars(self._engine) | saved, dataset_sha256=split.dataset_sha256
        )
        state = lease.succeed(result)
        if state is JobState.CANCELLED:
            # No result refers to these files, so nothing else would ever remove them.
            self._store.remove_files([path for path in (result.model_path, result.predictions_path) if path])
        return state

    def _wait_for_store(self, lease: Lease, progress: Progress, operation: Callable[[], T]) -> T:
        """The result of `operation`, retried while an object store is away and the job need not stop.

        Raises:
            ArtifactsUnavailable: it was away for too long.
            Interrupted: the job is to stop.
        """
        deadline = time.monotonic() + _LEASES_TO_RETRY * self._settings.lease_seconds
        while True:
            try:
                return operation()
            except ArtifactsUnavailable as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("job %s waits: %s", lease.job_id, error)
                lease.on_chunk_end(progress)
                time.sleep(_RETRY_SECONDS)
