"""What a report reads, on both databases."""

from collections.abc import Mapping, Sequence
from statistics import stdev

import pytest
from sqlalchemy import insert

from models.store import jobs
from models.store.database import Database
from models.store.report_data import load_deferred, load_summaries
from models.store.tables import Epoch
from tests.factories import finished_job, job_spec, result_record


def store_losses(database: Database, losses: Mapping[str, Sequence[tuple[float | None, float]]]) -> None:
    """Store the epochs of jobs without any, from their validation and training losses."""
    rows = [
        {
            "job_id": job_id,
            "epoch": epoch,
            "attempt": 1,
            "train_loss": train_loss,
            "train_accuracy": 0.9,
            "validation_loss": validation_loss,
            "validation_accuracy": None if validation_loss is None else 0.8,
        }
        | dict.fromkeys(
            ("objective", "penalty", "batch_accuracy", "weight_norm", "learning_rate", "seconds"), 0.0
        )
        for job_id, course in losses.items()
        for epoch, (validation_loss, train_loss) in enumerate(course, 1)
    ]
    with database.write() as session:
        session.execute(insert(Epoch), rows)


def test_epochs_are_summarised_by_variant(database: Database) -> None:
    losses = {"a": [0.1234567, 0.1234568, 0.1234570], "b": [2.0]}
    ids = {
        name: [finished_job(database, job_spec(), epochs=0).id for _ in runs] for name, runs in losses.items()
    }
    store_losses(
        database,
        {
            job_id: [(loss + 1.0 if name == "a" else None, loss)]
            for name in losses
            for job_id, loss in zip(ids[name], losses[name], strict=True)
        },
    )
    with database.read() as session:
        summaries = load_summaries(session, ids | {"none": []})
    (first,), (second,) = summaries["a"], summaries["b"]
    assert summaries["none"] == []
    assert (first.epoch, first.train_loss.n) == (1, 3)
    assert first.train_loss.mean == pytest.approx(sum(losses["a"]) / 3, rel=1e-14)
    # The jobs differ in the last digits that single precision has.
    assert first.train_loss.sd == pytest.approx(stdev(losses["a"]), rel=1e-3)
    assert first.validation_accuracy is not None
    assert first.validation_accuracy.mean == pytest.approx(0.8)
    assert first.validation_accuracy.sd == 0.0
    assert first.gap_loss is not None
    assert first.gap_loss.mean == pytest.approx(1.0)
    assert (second.train_loss.mean, second.train_loss.sd, second.validation_loss) == (2.0, None, None)


def test_more_jobs_than_a_statement_may_have_variables(database: Database) -> None:
    job = finished_job(database, epochs=2)
    unknown = [f"job_{number}" for number in range(40_000)]
    with database.read() as session:
        summaries = load_summaries(session, {"a": [*unknown, job.id]})
    assert [(summary.epoch, summary.train_loss.n) for summary in summaries["a"]] == [(1, 1), (2, 1)]


def test_deferred_columns_are_loaded_for_many_rows(database: Database) -> None:
    ids = [finished_job(database, epochs=1).id for _ in range(2)]
    with database.read() as session:
        results = [job.result for job in jobs.get_jobs(session, ids) if job.result]
        load_deferred(session, results, "test_correct")
        load_deferred(session, results[:1], "diagnostics")
    # The session is closed: deferred columns could no longer be loaded.
    assert [result.test_correct for result in results] == [result_record().test_correct] * 2
    assert results[0].diagnostics is not None
    assert results[0].diagnostics["first_layer_side"] == 3
