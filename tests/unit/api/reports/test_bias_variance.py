"""Bias and variance in words, where runs are missing and numbers are extreme."""

from collections.abc import Collection

import numpy as np
import pytest
from scipy.special import log_softmax

from api.reports import bias_variance
from api.reports.bias_variance_schemas import BiasVarianceReport
from api.reports.bias_variance_text import build_rows, list_notes
from models.artifacts import ArtifactStore
from models.decompositions import CrossEntropyParts, Measured
from models.experiments import ExperimentSpec
from models.run_key import RunKey
from models.settings import Settings
from models.store.experiment_runs import ExperimentRun
from models.test_predictions import TestPredictions
from tests.factories import finished_row

LABELS = (np.arange(20) % 4).astype(np.int32)


def build(
    monkeypatch: pytest.MonkeyPatch, sizes: Collection[int], lost: Collection[tuple[str, int, int]]
) -> BiasVarianceReport:
    """Of two variants on two parts with two seeds at these sizes, without the (variant, size, seed) lost."""
    axis = {"field": "/dataset/train_samples", "values": list(sizes)}
    variants = [{"name": "none"}, {"name": "dropout", "changes": {"regularization": {"dropout": {}}}}]
    document = {"name": "x", "variants": variants, "parts": 2, "seeds": [0, 1], "axes": [axis]}
    spec = ExperimentSpec.model_validate(document)
    keys: dict[str, RunKey] = {}
    runs = []
    for key, of_run in spec.build_runs():
        if (key.variant, of_run.dataset.train_samples, key.seed) not in lost:
            job = finished_row(f"{key.variant} {len(keys)}", key.seed)
            keys[job.id] = key
            runs.append(ExperimentRun(key, False, job))

    def read(store: ArtifactStore, job_id: str, *file: str | None) -> bytes:
        noise = np.random.default_rng(list(keys).index(job_id)).normal(size=(20, 4))
        return TestPredictions(log_softmax(noise, axis=-1).astype(np.float32), LABELS).to_bytes()

    monkeypatch.setattr(bias_variance, "read_test_predictions", read)
    return bias_variance.build_report(spec, runs, ArtifactStore(Settings()))


def test_the_ends_of_an_axis_of_one_point_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = build(monkeypatch, [500], []).answers
    assert len(answers) == len(set(answers)) == 2
    assert len(build(monkeypatch, [500, 1000], []).answers) == 4


def test_a_baseline_that_is_lost_at_one_point_is_compared_at_others(monkeypatch: pytest.MonkeyPatch) -> None:
    report = build(monkeypatch, [500, 1000], [("none", 500, 0), ("none", 500, 1)])
    assert report.answers[0].startswith("dropout compared with none, at 1,000 training examples: ")


def test_a_table_without_differences_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    report = build(monkeypatch, [500], [("none", 500, 0), ("dropout", 500, 1)])
    assert report.differences == []
    assert any(note.startswith("Without differences: no variant shares") for note in list_notes(report))


def test_an_interval_that_ends_near_zero_shows_on_which_side(monkeypatch: pytest.MonkeyPatch) -> None:
    report = build(monkeypatch, [500], [])
    near, beyond = Measured(-0.093, -0.187, -0.00021), Measured(-0.093, -0.187, 0.00021)
    parts = CrossEntropyParts(mean_loss=near, bias=near, variance=beyond)
    changed = [report.differences[0].model_copy(update={"cross_entropy": parts})]
    row = build_rows(report.model_copy(update={"differences": changed}))[-1]
    assert row[4:6] == ["-0.0930 (-0.1870 to -0.0002)", "-0.0930 (-0.1870 to +0.0002)"]
