"""Factories with sensible defaults; a test states only what matters to it."""

from dataclasses import asdict
from typing import Any

from models.documents import merge_patch
from models.metrics import METRICS
from models.records import (
    CalibrationBin,
    DiagnosticsRecord,
    EpochRecord,
    LayerRecord,
    Progress,
    ResultRecord,
)
from models.run_key import RunKey
from models.spec import JobSpec
from models.states import JobState
from models.store import jobs, queue
from models.store.database import Database
from models.store.tables import LOCAL_OWNER, Job, Result
from models.store.transitions import get_job
from models.techniques import CATALOGUE

_SMALL: dict[str, Any] = {
    "dataset": {"name": "mnist_5k"},
    "model": {"hidden_units": [16]},
    "training": {"epochs": 1},
}

# As many techniques as an mlp can have at once: one of these two needs a cnn, the other excludes two more.
EVERY_TECHNIQUE_TOGETHER = tuple(
    name for name in CATALOGUE if name not in {"spatial_dropout", "stochastic_weight_averaging"}
)


def job_spec(**changes: Any) -> JobSpec:
    """A small job: mnist_5k, 16 hidden units, one epoch; `changes` is an RFC 7396 merge patch."""
    return JobSpec.model_validate(merge_patch(_SMALL, changes))


def epoch_record(epoch: int, **changes: Any) -> EpochRecord:
    """An epoch of a network that learns a little more in each."""
    values: dict[str, Any] = {
        "epoch": epoch,
        "objective": 0.5 / epoch,
        "penalty": 0.0,
        "batch_accuracy": 0.9,
        "train_loss": 0.4 / epoch,
        "train_accuracy": 0.92,
        "validation_loss": 0.45 / epoch,
        "validation_accuracy": 0.91,
        "weight_norm": 10.0 + epoch,
        "learning_rate": 0.001,
        "seconds": 1.5,
    }
    return EpochRecord(**(values | changes))


def result_record(**changes: Any) -> ResultRecord:
    """A result of plausible size."""
    values: dict[str, Any] = dict.fromkeys(METRICS) | {
        "test_accuracy": 0.975,
        "test_loss": 0.1,
        "test_brier": 0.04,
        "test_ece": 0.01,
        "test_ece_debiased": 0.0001,
        "temperature": 1.25,
        "test_loss_scaled": 0.09,
        "test_ece_scaled": 0.01,
        "train_accuracy": 0.995,
        "train_loss": 0.02,
        "validation_accuracy": 0.974,
        "validation_loss": 0.11,
        "generalization_gap_accuracy": 0.02,
        "generalization_gap_loss": 0.08,
        "best_epoch": 3,
        "reported_epoch": 3,
        "epochs_run": 3,
        "stop_reason": "completed",
        "parameters": 12_730,
        "zero_weight_fraction": 0.0,
        "near_zero_weight_fraction": 0.02,
        "weight_norm": 13.0,
        "training_seconds": 4.5,
        "compile_seconds": 1.0,
        "compilations": 3,
        "training_flops": 1e9,
        "weights_sha256": "a" * 64,
        "dataset_sha256": "b" * 64,
        "tensorflow": "2.21.0",
        "keras": "3.15.1",
        "device": "CPU",
        "threads": 1,
        "regbench": "0.1.0",
        "model_path": "jobs/x/1/model.keras",
        "model_sha256": "c" * 64,
        "predictions_path": "jobs/x/1/test_predictions.npz",
        "predictions_sha256": "d" * 64,
        "layers": (
            LayerRecord("dense", (784, 16), 12.0, 0.0, 0.02, 0.0),
            LayerRecord("dense_1", (16, 10), 5.0, 0.0, 0.01, 0.0),
        ),
        # 100 test images, of which three 3s are taken for 5s.
        "confusion": tuple(
            tuple(
                7 if truth == answer == 3 else 3 if (truth, answer) == (3, 5) else 10 * (truth == answer)
                for answer in range(10)
            )
            for truth in range(10)
        ),
        # Likewise: the first 97 of 100.
        "test_correct": b"\xff" * 12 + b"\x80",
        "robustness": None,
        "diagnostics": DiagnosticsRecord(
            weight_edges=(-0.5, 0.0, 0.5),
            weight_counts=(6000, 6704),
            weight_zeros=0,
            calibration=(CalibrationBin(50, 0.93, 0.94), CalibrationBin(50, 0.99, 1.0)),
            first_layer=("gIGCg4SFhoeI",),  # 3 x 3 pixels, 128 to 136
            first_layer_side=3,
            first_layer_scale=0.5,
        ),
    }
    return ResultRecord(**(values | changes))


def finished_job(
    database: Database,
    spec: JobSpec | None = None,
    *,
    owner: str = LOCAL_OWNER,
    experiment_id: str | None = None,
    variant: str | None = None,
    result: ResultRecord | None = None,
    epochs: int = 3,
) -> Job:
    """A job that went through its whole life by the store's own functions."""
    spec = spec or job_spec(training={"epochs": epochs})
    key = RunKey(variant, spec.seed) if variant else None
    new_job = jobs.NewJob(spec, owner, experiment_id=experiment_id, key=key)
    with database.write() as session:
        job_id = jobs.create_jobs(session, [new_job])[0].id
    return finish_job(database, job_id, result=result, epochs=epochs)


def finish_job(
    database: Database, job_id: str, *, result: ResultRecord | None = None, epochs: int = 3
) -> Job:
    """Bring a queued job to its end, each epoch recorded."""
    with database.write() as session:
        claimed = queue.claim(session, job_id, owner="test", lease_seconds=30)
        assert claimed is not None
        attempt = claimed.attempt
        for epoch in range(1, epochs + 1):
            progress = Progress(epoch, epoch / epochs, float(epochs - epoch))
            queue.renew(session, job_id, attempt, lease_seconds=30, progress=progress)
            queue.record_epoch(session, job_id, attempt, epoch_record(epoch))
        queue.succeed(session, job_id, attempt, result or result_record(epochs_run=epochs))
    with database.read() as session:
        return get_job(session, job_id)


def job_in(database: Database, state: JobState) -> str:
    """The id of a job in `state`, which it reached by the store's own functions."""
    if state is JobState.SUCCEEDED:
        return finished_job(database).id
    with database.write() as session:
        (job,) = jobs.create_jobs(session, [jobs.NewJob(job_spec())])
        if state is JobState.QUEUED:
            return job.id
        queue.claim(session, job.id, owner="worker", lease_seconds=30)
        if state is JobState.FAILED:
            queue.fail(session, job.id, 1, code="oops", message="Oops.", retryable=False)
        elif state is JobState.PAUSED:
            jobs.pause_job(session, job.id)
            queue.stop(session, job.id, 1)
        elif state is JobState.CANCELLED:
            jobs.cancel_job(session, job.id)
            queue.stop(session, job.id, 1)
    return job.id


def finished_row(variant: str, seed: int, **changes: Any) -> Job:
    """A finished job that is in no database, with these changes to its result.

    Which test images it classifies correctly is unknown, unless specified.
    """
    job_id = f"job_{variant}_{seed}".replace(" ", "-")
    result = Result(job_id=job_id, **asdict(result_record(**({"test_correct": None} | changes))))
    spec = {"dataset": {"name": "mnist_5k"}}
    return Job(id=job_id, variant=variant, seed=seed, spec=spec, state=JobState.SUCCEEDED, result=result)
