"""Onsets of overfitting from stored epochs, on both databases."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from api.reports.onsets import load_overfitting_onsets
from models.store.database import Database
from models.store.report_data import load_summaries
from tests.factories import finished_job, job_spec
from tests.integration.models.store.test_report_data import store_losses
from tests.studies.test_overfitting import find_onset

Array = NDArray[np.float64]


def find_onset_in_database(
    database: Database, validation_loss: Sequence[Array], train_loss: Array
) -> int | None:
    """From one array (epochs,) a job, of different lengths where jobs stop early."""
    ids = [finished_job(database, job_spec(), epochs=0).id for _ in validation_loss]
    courses = [
        list(zip(losses.tolist(), others.tolist(), strict=False))
        for losses, others in zip(validation_loss, train_loss, strict=True)
    ]
    store_losses(database, dict(zip(ids, courses, strict=True)))
    with database.read() as session:
        summaries = load_summaries(session, {"a": ids, "none": []})
        return load_overfitting_onsets(session, {"a": ids, "none": []}, summaries).get("a")


def test_the_onset_of_overfitting_is_found_from_single_jobs_losses(database: Database) -> None:
    generator = np.random.default_rng(0)
    onsets = []
    for seeds, rise in ((3, 0.1), (4, 0.1), (7, 0.1), (7, 0.0)):
        curve = np.array([0.5, 0.3, 0.3, 0.3, 0.3 + rise])
        validation_loss = curve + 0.01 * generator.normal(size=(seeds, 5))
        train_loss = np.linspace(0.5, 0.1, 5) + 0.01 * generator.normal(size=(seeds, 5))
        onset = find_onset(validation_loss, train_loss)
        onsets.append(None if onset is None else onset + 1)
        assert find_onset_in_database(database, list(validation_loss), train_loss) == onsets[-1]
    assert [onset is not None for onset in onsets] == [False, True, True, False]


def test_epochs_that_some_jobs_did_not_reach_do_not_count_for_the_onset(database: Database) -> None:
    validation_loss = np.array([0.5, 0.3, 0.31, 0.9]) + 0.001 * np.arange(6)[:, None] ** 2
    train_loss = np.tile([0.5, 0.3, 0.2, 0.1], (6, 1))
    assert find_onset_in_database(database, list(validation_loss), train_loss) == 2
    one_stopped = [validation_loss[0, :2], *validation_loss[1:]]
    assert find_onset_in_database(database, one_stopped, train_loss) is None


def test_jobs_without_validation_have_no_onset(database: Database) -> None:
    ids = [finished_job(database, job_spec(), epochs=0).id for _ in range(6)]
    store_losses(database, {job_id: [(None, 0.3), (None, 0.2)] for job_id in ids})
    with database.read() as session:
        summaries = load_summaries(session, {"a": ids})
        assert load_overfitting_onsets(session, {"a": ids}, summaries) == {}
