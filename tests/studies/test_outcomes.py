"""Slow: presets, run on mnist_5k through API, database and training, give the results of their `expect`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from api.app import create_app
from models.documents import merge_patch
from models.settings import Settings
from models.store.auto_extend import auto_extend_experiments
from models.store.database import Database
from tests.integration.api.conftest import TestClient
from tests.integration.api.experiments.test_routes import create
from worker.runner import Runner

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"dataset": {"name": "mnist_5k"}}
FRESH = [2031, 2032, 2033]
"""Seeds for expectations that were written after a preset's own seeds, 0 to 7, had been seen."""


@dataclass(frozen=True)
class Run:
    """One finished job, as the API returns it."""

    result: dict[str, Any]
    epochs: list[dict[str, Any]]

    def course(self, metric: str) -> NDArray[np.float64]:
        """The metric after each epoch."""
        return np.array([epoch[metric] for epoch in self.epochs])


@dataclass(frozen=True)
class Study:
    """A finished experiment: each variant's runs in the order of seeds, so that equal positions are pairs."""

    runs: dict[str, list[Run]]
    report: dict[str, Any]

    def gains(self, variant: str, metric: str) -> list[float]:
        """The variant's mean gain at each point of the axis."""
        (points,) = (
            gain["points"]
            for gain in self.report["gains"]
            if (gain["variant"], gain["metric"]) == (variant, metric)
        )
        return [point["mean"] for point in points]

    def of(self, variant: str, metric: str) -> NDArray[np.float64]:
        """The metric of each seed's result."""
        return np.array([run.result[metric] for run in self.runs[variant]])

    def mean(self, variant: str, metric: str) -> float:
        return float(self.of(variant, metric).mean())


@dataclass(frozen=True)
class Service:
    """The API and a training process, on one database."""

    client: TestClient
    runner: Runner

    def carry_out(
        self,
        preset: str,
        *,
        only: tuple[str, ...] = (),
        also: tuple[dict[str, Any], ...] = (),
        **overrides: Any,
    ) -> Study:
        """Post the preset with mnist_5k and `overrides`, train all its jobs and read them back.

        `only` names the variants to keep (all, if none is named), `also` are variants to add.
        """
        presets = {item["name"]: item["document"] for item in self.client.get("/v1/presets").json()["items"]}
        selected = [variant for variant in presets[preset]["variants"] if not only or variant["name"] in only]
        posted = merge_patch({"preset": preset, "base": SMALL, "variants": [*selected, *also]}, overrides)
        experiment = create(self.client, posted)
        database: Database = self.client.app.state.database
        added: Sequence[object] = [experiment]
        while added:
            while self.runner.run_next():
                pass
            with database.write() as session:
                # What tuning has chosen, which a worker's sweeper would add.
                added = auto_extend_experiments(session)
        report = self.client.get(experiment["links"]["report"], params={"format": "json"}).json()
        assert report["complete"], report["missing"]
        return Study(
            {
                # With an axis by its value too.
                " at ".join([variant["name"], *map(str, (variant["point"] or {}).values())]): [
                    self._run(seed["job_id"]) for seed in variant["seeds"]
                ]
                for variant in report["variants"]
            },
            report,
        )

    def _run(self, job_id: str) -> Run:
        job = self.client.get(f"/v1/jobs/{job_id}").json()
        return Run(job["result"], self.client.get(job["links"]["epochs"]).json()["items"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[Service]:
    """One for all studies: a network of the same shape is compiled once."""
    settings = Settings(home=tmp_path_factory.mktemp("studies"), training_threads=1)
    (settings.home / "regbench.db").write_bytes(migrated_sqlite.read_bytes())
    runner = Runner(settings)
    with TestClient(create_app(settings)) as client:
        yield Service(client, runner)
    runner.close()


def test_dropout_and_l2_lower_loss_and_gap(service: Service) -> None:
    l2 = {"name": "with L2", "changes": {"regularization": {"l2": {"factor": 1e-3}}}}
    study = service.carry_out("dropout-vs-none", also=(l2,), replicates=5)
    for metric in ("generalization_gap_loss", "test_loss"):
        without = study.of("without Dropout", metric)
        for variant in ("with Dropout", "with L2"):
            assert (study.of(variant, metric) < without).mean() >= 0.8
            assert study.mean(variant, metric) < 0.95 * without.mean()
    # Units are missing in training and present when the same images are measured.
    for run in study.runs["with Dropout"]:
        assert (run.course("batch_accuracy") < run.course("train_accuracy")).all()


def test_the_larger_the_l2_factor_the_smaller_the_weights_until_it_underfits(service: Service) -> None:
    study = service.carry_out("lambda-path", replicates=3)
    path = ["none", "L2 1e-6", "L2 1e-5", "L2 1e-4", "L2 1e-3", "L2 1e-2", "L2 1e-1"]
    norms = np.array([study.of(variant, "weight_norm") for variant in path])
    assert (np.diff(norms, axis=0) < 0).all()  # of every seed, at every step
    assert (study.of("L2 1e-3", "test_loss") < study.of("none", "test_loss")).all()
    assert (study.of("L2 1e-2", "test_loss") > study.of("none", "test_loss")).all()
    # So strong that the training images are not learned either.
    assert study.of("none", "train_accuracy").min() > 0.95
    assert study.of("L2 1e-1", "train_accuracy").max() < 0.6


def test_only_proximal_steps_give_zeros_and_only_group_steps_give_zero_rows(service: Service) -> None:
    study = service.carry_out("sparsity", replicates=3)
    zeros = {variant: study.of(variant, "zero_weight_fraction") for variant in study.runs}
    assert max(zeros["none"].max(), zeros["L1 1e-4"].max()) < 1e-4
    assert zeros["proximal L1 1e-4"].min() > 0.03
    assert (zeros["proximal L1 1e-3"] > 5 * zeros["proximal L1 1e-4"]).all()
    # The same penalty, but for the zeros.
    assert study.of("proximal L1 1e-4", "test_loss") == pytest.approx(
        study.of("L1 1e-4", "test_loss"), rel=0.05
    )
    for run in study.runs["group L1 5e-4"]:
        first, *later = run.result["layers"]
        assert first["zero_inputs_fraction"] > 0.1
        # Not quite all: a gradient may bring back a row that was zero, for the units that it reaches.
        assert first["zero_inputs_fraction"] > 0.8 * first["zero_fraction"]
        assert max(layer["zero_fraction"] for layer in later) < 1e-4
    for run in study.runs["proximal L1 1e-4"] + study.runs["proximal L1 1e-3"]:
        first = run.result["layers"][0]
        assert first["zero_fraction"] > 2 * first["zero_inputs_fraction"]


@pytest.fixture(scope="module")
def averaged(service: Service) -> Study:
    return service.carry_out("weight-averaging", replicates=3)


@pytest.mark.parametrize("technique", ["EMA", "SWA", "cosine schedule"])
def test_averaged_weights_and_decaying_rates_have_a_lower_test_loss(averaged: Study, technique: str) -> None:
    gained = averaged.of("none", "test_loss") - averaged.of(technique, "test_loss")
    assert (gained > 0).all()


def test_label_smoothing_makes_predictions_underconfident(service: Service) -> None:
    study = service.carry_out("label-smoothing", replicates=3)
    calibration = [study.of(f"alpha {alpha}", "test_ece") for alpha in (0.01, 0.05, 0.1, 0.2)]
    assert (np.diff(calibration, axis=0) > 0).all()
    assert (calibration[2] > 2 * study.of("none", "test_ece")).all()
    assert study.mean("alpha 0.1", "test_accuracy") > study.mean("none", "test_accuracy")


def test_augmentation_gives_the_best_accuracy(service: Service) -> None:
    study = service.carry_out(
        "augmentation",
        only=("none", "shift + rotation", "elastic", "mixup"),
        replicates=3,
    )
    for altered in ("shift + rotation", "elastic"):
        for other in ("none", "mixup"):
            assert study.mean(altered, "test_accuracy") > study.mean(other, "test_accuracy") + 0.008
        # They are fitted less closely, and what is learned from them generalizes better.
        assert (study.of(altered, "train_loss") > study.of("none", "train_loss")).all()
        assert (study.of(altered, "test_loss") < study.of("none", "test_loss")).all()


def test_label_noise_lowers_accuracy_and_regularization_reduces_memorization(service: Service) -> None:
    axes = [{"field": "/dataset/label_noise", "values": [0.0, 0.4]}]
    study = service.carry_out("label-noise", axes=axes, replicates=3)
    assert (study.of("none at 0.4", "test_accuracy") < study.of("none at 0.0", "test_accuracy") - 0.1).all()
    # Measured against labels of which four in ten are random: memorized.
    assert study.of("none at 0.4", "train_accuracy").min() > 0.9
    for technique in ("dropout", "early stopping", "L2"):
        without, gain = study.gains(technique, "test_accuracy")
        assert gain > max(1.0, without)


def test_early_stopping_keeps_the_lowest_validation_loss_and_saves_epochs(service: Service) -> None:
    study = service.carry_out("early-stopping", base={"training": {"epochs": 60}}, replicates=3)
    for run in study.runs["none"]:
        losses = run.course("validation_loss")
        best = losses.argmin()
        # Overfitting: the loss rises on held-out examples while it still falls on the training ones.
        assert best < 15
        assert losses[-1] > 1.2 * losses[best]
        assert run.course("train_loss")[-1] < 0.1 * run.course("train_loss")[best]
        assert abs(run.course("validation_accuracy")[-1] - run.course("validation_accuracy")[best]) < 0.02
    for run in study.runs["early stopping"] + study.runs["dropout + early stopping"]:
        losses = run.course("validation_loss")
        assert (run.result["stop_reason"], run.result["epochs_run"]) == ("early_stopping", len(losses))
        assert len(losses) < 60
        assert run.result["reported_epoch"] == losses.argmin() + 1
        assert run.result["validation_loss"] == losses.min()
    assert (study.of("early stopping", "test_loss") < study.of("none", "test_loss")).all()
    assert (study.of("dropout + early stopping", "test_loss") < study.of("none", "test_loss")).all()


def test_more_examples_are_better_and_dropout_is_no_help_with_few(service: Service) -> None:
    # Two seeds: the differences are many times those between seeds.
    axes = [{"field": "/dataset/train_samples", "values": [250, 1000, 4000]}]
    study = service.carry_out("small-data", axes=axes, replicates=2)
    accuracies = [study.mean(f"none at {size}", "test_accuracy") for size in (250, 1000, 4000)]
    assert np.diff(accuracies).min() > 0.01
    assert study.gains("dropout", "test_accuracy")[0] < 2
    assert study.mean("dropout at 250", "test_loss") > 1.1 * study.mean("none at 250", "test_loss")


def test_dropout_costs_a_narrow_network_and_pays_in_a_wide_one(service: Service) -> None:
    axes = [{"field": "/model/hidden_units", "values": [[4], [256]]}]
    study = service.carry_out("width-path", axes=axes, replicates=3)
    narrow, wide = study.gains("dropout", "test_loss")
    assert narrow < 0 < wide
    assert study.gains("dropout", "test_accuracy")[0] < -1


def test_the_error_falls_with_size_and_dropout_gains_with_more_updates(service: Service) -> None:
    axes = [{"field": "/dataset/train_samples", "values": [250, 1000, 2000, 4000]}]
    study = service.carry_out("size-path", axes=axes, seeds=FRESH)
    errors = [1 - study.mean(f"none at {size}", "test_accuracy") for size in (250, 1000, 2000, 4000)]
    assert (np.diff(errors) < 0).all()
    gains = study.gains("dropout", "test_loss")
    assert gains[-1] > max(0.01, gains[0])
    assert (
        max(study.gains("label smoothing", "test_loss"))
        < 0
        < study.gains("label smoothing", "test_accuracy")[-1]
    )
    assert study.report["error_curves"][0]["variant"] == "none"


def test_l2_gains_with_more_updates_and_a_large_factor_is_too_strong_at_every_size(service: Service) -> None:
    axes = [{"field": "/dataset/train_samples", "values": [250, 4000]}]
    study = service.carry_out("lambda-by-size", axes=axes, seeds=FRESH)
    few, many = study.gains("L2 1e-3", "test_loss")
    assert many > max(0.005, few)
    assert max(study.gains("L2 1e-1", "test_loss")) < -0.1
    assert study.report["points"][1]["best"]["variant"] in ("L2 1e-4", "L2 1e-3")


def test_batch_normalization_is_faster_at_first_and_dropout_after_it_lowers_loss_and_gap(
    service: Service,
) -> None:
    study = service.carry_out("batch-normalization", replicates=5)
    first = {
        variant: np.array([run.course("validation_loss")[0] for run in runs])
        for variant, runs in study.runs.items()
    }
    assert (first["batch normalization"] < first["none"]).mean() >= 0.8
    for metric in ("test_loss", "generalization_gap_loss"):
        alone = study.mean("batch normalization", metric)
        assert study.mean("batch normalization + dropout", metric) < alone


def test_penalties_shrink_weights_and_subgradients_give_no_zeros(service: Service) -> None:
    study = service.carry_out("l1-vs-l2", replicates=5)
    for variant in ("L1", "L2", "L1 + L2"):
        for metric in ("weight_norm", "generalization_gap_loss"):
            assert (study.of(variant, metric) < study.of("none", metric)).all()
        assert study.mean(variant, "zero_weight_fraction") < 0.01
        assert abs(study.mean(variant, "test_accuracy") - study.mean("none", "test_accuracy")) < 0.01


def test_a_convolutional_network_gains_less_from_regularization(service: Service) -> None:
    study = service.carry_out("convolution", base={"training": {"epochs": 5}}, seeds=[0, 1])
    plain = service.carry_out("dropout-vs-none", only=("without Dropout",), baseline=None, replicates=2)
    assert study.mean("none", "test_accuracy") > plain.mean("without Dropout", "test_accuracy")
    for variant in study.runs.keys() - {"none"}:
        assert study.mean(variant, "generalization_gap_loss") < study.mean("none", "generalization_gap_loss")


def test_only_early_stopping_saves_epochs(service: Service) -> None:
    # Its default patience needs more epochs than the preset's ten to run out.
    study = service.carry_out("all-techniques", base={"training": {"epochs": 20}}, seeds=[0])
    shorter = {name for name, runs in study.runs.items() if runs[0].result["epochs_run"] < 20}
    assert len(study.runs) == 22
    assert shorter == {"Early stopping"}


def test_dropout_beside_max_norm_and_l2_lowers_the_loss(service: Service) -> None:
    study = service.carry_out("srivastava-2014", base={"training": {"epochs": 10}}, seeds=[0, 1])
    for alone, both in (("L2", "dropout + L2"), ("max-norm", "dropout + max-norm")):
        assert study.mean(both, "generalization_gap_loss") < study.mean(alone, "generalization_gap_loss")


def test_tuned_dropout_has_no_higher_loss_than_tuned_none(service: Service) -> None:
    study = service.carry_out("fair-comparison", only=("none", "dropout"), tune={"trials": 4}, replicates=4)
    assert study.report["tuning"]["trials"] == 4
    assert all(item["chosen"] is not None for item in study.report["tuning"]["variants"])
    assert study.mean("dropout", "test_loss") < 1.05 * study.mean("none", "test_loss")
