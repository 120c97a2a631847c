"""The trainer compared with Keras and with itself, and in edge cases."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.dataset_arrays import Dataset
from models.documents import merge_patch
from models.errors import TrainingFailed
from models.evaluation_spec import EvaluationSpec
from models.experiments import ExperimentSpec
from models.records import EpochRecord, Evaluation, Progress
from models.settings import Settings
from models.spec import JobSpec
from models.test_predictions import TestPredictions
from tests.factories import EVERY_TECHNIQUE_TOGETHER, epoch_record, job_spec
from worker.checkpoints import Checkpoint
from worker.datasets import split_dataset
from worker.evaluation import TrainedModel
from worker.metrics import compute_scores
from worker.network import KerasLayers, build_network, get_kernels, set_initial_weights
from worker.program import ProgramCache, get_program_shape
from worker.repeat import repeat_trainings
from worker.seeds import shuffle_examples
from worker.training import is_time_up, train

ORIGIN = {"engine": "this one"}


class Notes:
    """An observer that records its calls, and raises `then` at the given chunk."""

    def __init__(self, *, fail_at_chunk: int | None = None, then: Exception | None = None) -> None:
        self.progress: list[Progress] = []
        self.epochs: list[EpochRecord] = []
        self.checkpoints: list[Checkpoint | None] = []
        self._fail_at_chunk, self._then = fail_at_chunk, then

    def on_chunk_end(self, progress: Progress) -> None:
        self.progress.append(progress)
        if self._then is not None and len(self.progress) == self._fail_at_chunk:
            raise self._then

    def on_epoch_end(
        self, record: EpochRecord, progress: Progress, checkpoint: Callable[[], Checkpoint]
    ) -> None:
        self.checkpoints.append(Checkpoint.from_bytes(checkpoint().to_bytes(ORIGIN), ORIGIN))
        self.epochs.append(record)
        self.progress.append(progress)


@pytest.fixture(scope="module")
def programs() -> ProgramCache:
    """Shared, as in a worker process, so that each shape is compiled once."""
    return ProgramCache()


def train_model(
    spec: JobSpec,
    dataset: Dataset,
    programs: ProgramCache,
    notes: Notes | None = None,
    chunk_seconds: float = 1.0,
    resume_from: Checkpoint | None = None,
) -> TrainedModel:
    return train(
        spec,
        split_dataset(dataset, spec.dataset),
        notes or Notes(),
        programs=programs,
        chunk_seconds=chunk_seconds,
        resume_from=resume_from,
    )


def run(spec: JobSpec, dataset: Dataset, programs: ProgramCache, *args: Any, **options: Any) -> Evaluation:
    return train_model(spec, dataset, programs, *args, **options).evaluation


def keras_weights(spec: JobSpec, dataset: Dataset) -> list[np.ndarray]:
    """The weights of `model.fit` from the same start and order of examples."""
    regularization = spec.regularization
    network = build_network(spec, KerasLayers())
    for layer in network.layers:
        if hasattr(layer, "kernel") and (regularization.l1 or regularization.l2):
            l1 = regularization.l1.factor if regularization.l1 else 0.0
            l2 = regularization.l2.factor if regularization.l2 else 0.0
            layer.kernel.regularizer = keras.regularizers.L1L2(l1, l2)
    set_initial_weights(network, spec.seed)
    network.compile(keras_optimizer(spec), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    train_examples = split_dataset(dataset, spec.dataset).train
    for epoch in range(1, spec.training.epochs + 1):
        order = shuffle_examples(spec.seed, epoch, len(train_examples))
        images, labels = train_examples.images[order] / np.float32(255), train_examples.labels[order]
        batch_size = spec.training.batch_size
        network.fit(images, labels, batch_size=batch_size, epochs=1, shuffle=False, verbose=0)
    return network.get_weights()


def keras_optimizer(spec: JobSpec) -> keras.optimizers.Optimizer:
    optimizer, clipping = spec.training.optimizer, spec.regularization.gradient_clipping
    decay = spec.regularization.weight_decay
    options = {"global_clipnorm": clipping.norm if clipping else None}
    match optimizer.name:
        case "sgd":
            return keras.optimizers.SGD(optimizer.learning_rate, optimizer.momentum, **options)
        case "rmsprop":
            return keras.optimizers.RMSprop(optimizer.learning_rate, **options)
        case "adamw" if decay:
            adamw = keras.optimizers.AdamW(optimizer.learning_rate, decay.factor, **options)
            adamw.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
            return adamw
        case "adam":
            return keras.optimizers.Adam(optimizer.learning_rate, **options)


SMALL_CNN = {"family": "cnn", "filters": [3, 4], "hidden_units": [12]}


@pytest.mark.parametrize(
    "changes",
    [
        # Each takes a compilation, so that most try several things.
        {"training": {"batch_size": 48}},  # 3,200 = 66 x 48 + 32: the last batch is smaller
        {
            "model": {"activation": "tanh"},
            "training": {
                "batch_size": 64,
                "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
            },
        },
        {
            "regularization": {
                "l1": {"factor": 1e-4},
                "l2": {"factor": 1e-3},
                "gradient_clipping": {"norm": 0.5},
            }
        },
        {"regularization": {"batch_normalization": {}}},
        {"training": {"optimizer": {"name": "rmsprop"}}, "regularization": {"layer_normalization": {}}},
        {
            "training": {"optimizer": {"name": "adamw"}},
            "regularization": {"weight_decay": {"factor": 0.5}},
        },
        {"model": SMALL_CNN, "training": {"optimizer": {"name": "sgd", "learning_rate": 0.05}}},
        {
            # Ten steps: normalization over small maps makes differences of rounding grow fast.
            "dataset": {"train_samples": 400},
            "model": SMALL_CNN | {"kernel_size": 5},
            "training": {"optimizer": {"name": "sgd", "learning_rate": 0.05}},
            "regularization": {"batch_normalization": {}, "l2": {}},
        },
    ],
    ids=[
        "uneven batches",
        "sgd, tanh",
        "elastic net, clipping",
        "batch normalization",
        "rmsprop, layer normalization",
        "adamw",
        "convolutions",
        "convolutions, batch normalization, L2",
    ],
)
def test_same_start_and_order_give_the_weights_of_model_fit(
    changes: dict[str, object], mnist_5k: Dataset, programs: ProgramCache
) -> None:
    spec = job_spec(seed=4, **changes)
    ours, theirs = train_model(spec, mnist_5k, programs).model.get_weights(), keras_weights(spec, mnist_5k)
    for start, mine, yours in zip(initial_weights(spec), ours, theirs, strict=True):
        # Rounding differs from program to program; a wrong gradient, order or batch moves far more.
        assert np.abs(mine - yours).max() <= 0.02 * np.abs(yours - start).max()


def initial_weights(spec: JobSpec) -> list[np.ndarray]:
    network = build_network(spec, KerasLayers())
    set_initial_weights(network, spec.seed)
    return network.get_weights()


EVERYTHING: dict[str, dict[str, object]] = {
    **{name: {} for name in EVERY_TECHNIQUE_TOGETHER},
    "dropout": {"rate": 0.3, "input_rate": 0.1},
    "augmentation": {"shift": 2.0, "rotation": 10.0, "zoom": 0.1, "elastic": 20.0},
    "early_stopping": {"patience": 2},
}
# As many steps as show a difference: 25 an epoch.
FEW_EXAMPLES = {"train_samples": 1_000}
# Techniques that do not apply to an MLP or exclude the moving average.
THE_REST: dict[str, object] = {
    "model": SMALL_CNN,
    "regularization": {"spatial_dropout": {}, "stochastic_weight_averaging": {"start": 0.0}},
}


def test_a_training_is_repeated_bit_for_bit_without_a_service(
    mnist_5k: Dataset, programs: ProgramCache, settings: Settings
) -> None:
    spec = job_spec(seed=1, dataset=FEW_EXAMPLES, training={"epochs": 3})
    (outcome,) = repeat_trainings([spec], settings)
    trained = run(spec, mnist_5k, programs)
    assert outcome["weights_sha256"] == trained.weights_sha256
    assert outcome["test_accuracy"] == trained.test_accuracy
    assert outcome["dataset_sha256"] == mnist_5k.sha256


def test_damaged_images_are_measured_after_training_and_change_nothing(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    spec = job_spec(seed=1, dataset=FEW_EXAMPLES, training={"epochs": 3})
    plain = run(spec, mnist_5k, programs)
    robust = run(spec.model_copy(update={"evaluation": EvaluationSpec(robustness=True)}), mnist_5k, programs)
    assert plain.robustness is None
    assert robust.weights_sha256 == plain.weights_sha256
    assert robust.robustness is not None
    accuracy = robust.robustness.accuracy
    assert {values[0] for values in accuracy.values()} == {robust.test_accuracy}
    assert all(len(values) == 6 and values[5] < values[0] for values in accuracy.values())
    damaged = [value for values in accuracy.values() for value in values[1:]]
    assert robust.robustness.mean_accuracy == pytest.approx(np.mean(damaged))


def test_answers_to_all_training_images_are_those_of_the_reported_model_and_change_nothing(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    # No later epoch counts as an improvement, so the first one's weights are reported.
    spec = job_spec(
        seed=1,
        dataset={"train_samples": 1000},
        training={"epochs": 3},
        regularization={"early_stopping": {"min_delta": 1.0}},
    )
    asked = spec.model_copy(update={"evaluation": EvaluationSpec(memorization=True)})
    plain, notes = run(spec, mnist_5k, programs), Notes()
    trained = train_model(asked, mnist_5k, programs, notes)
    assert trained.evaluation.weights_sha256 == plain.weights_sha256
    assert (trained.evaluation.reported_epoch, plain.epochs_run) == (1, 3)
    predictions = trained.test_predictions
    assert predictions is not None
    assert predictions.training is not None
    seen, correct = predictions.training.seen, predictions.training.correct
    split = split_dataset(mnist_5k, spec.dataset)
    assert np.flatnonzero(seen).tolist() == split.train.rows.tolist()
    assert correct[seen].mean() == pytest.approx(plain.train_accuracy)
    assert split.validation is not None
    # Images that are only validated on are not seen.
    assert correct[split.validation.rows].mean() == pytest.approx(plain.validation_accuracy)
    images = mnist_5k.train_images.reshape(-1, 784) / np.float32(255)
    answers = trained.model.predict(images, verbose=0, batch_size=1000).argmax(axis=1)
    assert (correct == (answers == mnist_5k.train_labels)).mean() > 0.999
    content = predictions.to_bytes()
    stored = TestPredictions.from_bytes(content).training
    assert stored is not None
    assert np.array_equal([stored.seen, stored.correct], [seen, correct])
    resumed = train_model(asked, mnist_5k, programs, resume_from=notes.checkpoints[1])
    assert resumed.test_predictions is not None
    assert resumed.test_predictions.to_bytes() == content


@pytest.mark.parametrize(
    "changes", [{"regularization": EVERYTHING}, THE_REST], ids=["everything", "the rest"]
)
def test_a_cached_and_a_new_program_give_the_same_weights(
    changes: dict[str, object],
    mnist_5k: Dataset,
    programs: ProgramCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A process that is killed would leave temporary files behind.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spec = job_spec(seed=1, dataset=FEW_EXAMPLES, training={"epochs": 2}, **changes)
    first = run(spec, mnist_5k, programs)
    other = run(spec.model_copy(update={"seed": 2}), mnist_5k, programs)
    assert other.weights_sha256 != first.weights_sha256
    assert run(spec, mnist_5k, programs).weights_sha256 == first.weights_sha256
    assert run(spec, mnist_5k, ProgramCache()).weights_sha256 == first.weights_sha256
    assert not list(tmp_path.iterdir())


def test_training_stops_after_the_epoch_in_which_its_time_is_up(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    spec = job_spec(seed=1, dataset=FEW_EXAMPLES, training={"epochs": 3})
    limited = job_spec(seed=1, dataset=FEW_EXAMPLES, training={"epochs": 3, "max_seconds": 1e-6})
    stopped = run(limited, mnist_5k, programs)
    assert (stopped.stop_reason, stopped.epochs_run, stopped.reported_epoch) == ("max_seconds", 1, 1)
    generous = job_spec(seed=1, dataset=FEW_EXAMPLES, training={"epochs": 3, "max_seconds": 600})
    whole = run(generous, mnist_5k, programs)
    assert whole.stop_reason == "completed"
    assert whole.weights_sha256 == run(spec, mnist_5k, programs).weights_sha256
    # The time of earlier attempts counts.
    history = [epoch_record(1, seconds=400.0), epoch_record(2, seconds=200.0)]
    assert not is_time_up(generous, history[:1])
    assert is_time_up(generous, history)


@pytest.mark.parametrize(
    "changes", [{"regularization": EVERYTHING}, THE_REST], ids=["everything", "the rest"]
)
def test_a_job_resumed_from_any_epoch_ends_as_if_never_interrupted(
    changes: dict[str, object], mnist_5k: Dataset, programs: ProgramCache
) -> None:
    spec = job_spec(seed=1, dataset=FEW_EXAMPLES, training={"epochs": 4}, **changes)
    another = job_spec(seed=2, dataset=FEW_EXAMPLES, training={"epochs": 1}, **changes)
    assert get_program_shape(another) == get_program_shape(spec)
    undisturbed = Notes()
    expected = run(spec, mnist_5k, programs, undisturbed)
    for checkpoint in undisturbed.checkpoints:
        assert checkpoint is not None
        run(another, mnist_5k, programs)
        notes = Notes()
        resumed = run(spec, mnist_5k, programs, notes, resume_from=checkpoint)
        assert resumed.weights_sha256 == expected.weights_sha256
        assert (resumed.best_epoch, resumed.epochs_run) == (expected.best_epoch, expected.epochs_run)
        history = [*checkpoint.history, *notes.epochs]
        for one, other in zip(history, undisturbed.epochs, strict=True):
            assert replace(one, seconds=0.0) == replace(other, seconds=0.0)


def test_progress_of_a_resumed_job_includes_the_earlier_epochs(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    first, second = Notes(), Notes()
    spec = job_spec(training={"epochs": 4})
    run(spec, mnist_5k, programs, first)
    run(spec, mnist_5k, programs, second, chunk_seconds=0.01, resume_from=first.checkpoints[2])
    assert 0.75 < second.progress[0].fraction < 0.8
    assert (second.progress[0].epochs_done, second.progress[-1].epochs_done) == (3, 4)
    assert second.progress[-1].fraction == 1.0


def test_a_checkpoint_of_another_engine_is_not_used() -> None:
    checkpoint = Checkpoint([epoch_record(1)], [np.ones(3)], [])
    content = checkpoint.to_bytes(ORIGIN)
    again = Checkpoint.from_bytes(content, ORIGIN)
    assert again is not None
    assert again.history == checkpoint.history
    assert Checkpoint.from_bytes(content, {"engine": "another one"}) is None


def test_the_length_of_chunks_does_not_change_the_result(mnist_5k: Dataset, programs: ProgramCache) -> None:
    spec = job_spec(regularization=EVERYTHING, training={"epochs": 2})
    long, short = Notes(), Notes()
    whole = run(spec, mnist_5k, programs, long, chunk_seconds=60.0)
    pieces = run(spec, mnist_5k, programs, short, chunk_seconds=0.01)
    assert len(short.progress) > len(long.progress)
    assert pieces.weights_sha256 == whole.weights_sha256
    for one, other in zip(long.epochs, short.epochs, strict=True):
        assert replace(one, seconds=0.0) == replace(other, seconds=0.0)


def test_different_seeds_give_different_weights(mnist_5k: Dataset, programs: ProgramCache) -> None:
    first, second = (run(job_spec(seed=seed), mnist_5k, programs) for seed in (0, 1))
    assert first.weights_sha256 != second.weights_sha256


@pytest.mark.parametrize(
    "regularization",
    [
        {"dropout": {"rate": 0.0}, "l1": {"factor": 0.0}, "l2": {"factor": 0.0}},
        {"gaussian_dropout": {"rate": 0.0}, "gaussian_noise": {"sigma": 0.0}},
        {"proximal_l1": {"factor": 0.0}, "weight_decay": {"factor": 0.0}, "label_smoothing": {"alpha": 0.0}},
        {"learning_rate_schedule": {"kind": "exponential", "decay": 1.0}},
        {"group_l1": {"factor": 0.0}, "activity_l1": {"factor": 0.0}, "confidence_penalty": {"beta": 0.0}},
        {
            "augmentation": {"shift": 0.0, "rotation": 0.0},
            "mixup": {"alpha": 0.0},
            "exponential_moving_average": {"decay": 0.0},
        },
    ],
    ids=["dropout and penalties", "noise", "steps and targets", "schedule", "groups", "inputs and average"],
)
def test_a_strength_of_zero_is_the_unregularized_model_bit_for_bit(
    regularization: dict[str, object], mnist_5k: Dataset, programs: ProgramCache
) -> None:
    plain = run(job_spec(), mnist_5k, programs)
    assert (
        run(job_spec(regularization=regularization), mnist_5k, programs).weights_sha256
        == plain.weights_sha256
    )


def test_a_strength_of_zero_in_an_experiment_is_the_baseline_bit_for_bit(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    spec = ExperimentSpec.model_validate(
        {
            "name": "zero",
            "base": job_spec(dataset={"label_noise": 0.2, "train_samples": 500}).model_dump(mode="json"),
            "variants": [
                {"name": "none"},
                {"name": "dropout 0", "changes": {"regularization": {"dropout": {"rate": 0.0}}}},
            ],
            "seeds": [0, 1],
        }
    )
    assert spec.split_per_seed
    weights = [run(job, mnist_5k, programs).weights_sha256 for _, job in spec.build_runs()]
    assert weights[0] == weights[1] != weights[2] == weights[3]


def test_jobs_that_differ_only_in_numbers_share_a_program() -> None:
    one = job_spec(seed=1, regularization={"dropout": {"rate": 0.2}, "l2": {"factor": 1e-3}})
    other = job_spec(
        seed=2,
        regularization={"dropout": {"rate": 0.6}, "l2": {"factor": 1e-5}},
        training={"optimizer": {"learning_rate": 0.01}, "epochs": 7},
    )
    assert get_program_shape(one) == get_program_shape(other)
    assert get_program_shape(one) != get_program_shape(
        job_spec(seed=1, regularization={"dropout": {"rate": 0.2}})
    )
    input_dropout = {"dropout": {"rate": 0.2, "input_rate": 0.1}, "l2": {}}
    assert get_program_shape(one) != get_program_shape(job_spec(seed=1, regularization=input_dropout))


def test_a_second_job_of_the_same_shape_needs_no_compilation(mnist_5k: Dataset) -> None:
    programs = ProgramCache()
    first = run(job_spec(regularization={"dropout": {"rate": 0.2}}), mnist_5k, programs)
    # The steps of a full batch, and the measurements.
    assert first.compilations == programs.count_compilations() == 2
    second = job_spec(
        seed=9,
        regularization={"dropout": {"rate": 0.7}},
        training={"epochs": 2, "optimizer": {"learning_rate": 0.01}},
        dataset={"train_samples": 2_000, "split_seed": 5, "label_noise": 0.2},  # 1,600 images: 50 batches
    )
    assert run(second, mnist_5k, programs).compilations == 0
    uneven = job_spec(regularization={"dropout": {}}, dataset={"train_samples": 2_010})
    assert run(uneven, mnist_5k, programs).compilations == 1  # its last batch has another size
    assert programs.count_compilations() == 3


def test_compilations_of_dropped_programs_stay_counted(
    mnist_5k: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.program._KEPT_PROGRAMS", 1)
    programs = ProgramCache()
    for units in (3, 4, 3):
        run(job_spec(model={"hidden_units": [units]}), mnist_5k, programs)
    assert programs.count_compilations() == 6


def test_objective_is_cross_entropy_and_penalty_and_the_metrics_leave_the_penalty_out(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    notes = Notes()
    evaluation = run(job_spec(regularization={"l2": {"factor": 1e-2}}), mnist_5k, programs, notes)
    epoch = notes.epochs[0]
    assert epoch.penalty > 0.2
    # Taken after the epoch and without the penalty, so well below the epoch's mean objective.
    assert epoch.train_loss < epoch.objective - epoch.penalty
    assert evaluation.validation_loss is not None
    assert evaluation.validation_loss == epoch.validation_loss


def test_l2_shrinks_the_weights_and_no_kernel_weight_is_exactly_zero(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    plain = run(job_spec(), mnist_5k, programs)
    shrunk = run(job_spec(regularization={"l2": {"factor": 1e-2}}), mnist_5k, programs)
    assert shrunk.weight_norm < 0.8 * plain.weight_norm
    assert shrunk.zero_weight_fraction == 0


def test_metrics_belong_to_the_stored_model(mnist_5k: Dataset, programs: ProgramCache) -> None:
    trained = train_model(job_spec(), mnist_5k, programs)
    test, test_accuracy = mnist_5k.test, trained.evaluation.test_accuracy
    answers = trained.model.predict(test.images / np.float32(255), verbose=0)
    assert (answers.argmax(1) == test.labels).mean() == test_accuracy
    predictions, labels = trained.test_predictions.log_probabilities, trained.test_predictions.labels
    assert np.allclose(answers, np.exp(predictions), atol=1e-5)
    # The temperature that was fitted on validation images applies to what is stored of test images.
    assert trained.evaluation.temperature is not None
    scaled = compute_scores(predictions / trained.evaluation.temperature, labels)
    assert scaled.loss == pytest.approx(trained.evaluation.test_loss_scaled, rel=1e-4)
    assert scaled.accuracy == trained.evaluation.test_accuracy
    assert test_accuracy > 0.7  # one epoch of a small network learns more than chance


def test_without_the_test_images_nothing_of_them_is_computed(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    spec = job_spec(evaluation={"test": False})
    tuned, judged = train_model(spec, mnist_5k, programs), run(job_spec(), mnist_5k, programs)
    assert tuned.test_predictions is None
    on_test = {name for name in vars(judged) if name.startswith(("test_", "generalization_gap"))}
    assert {name: getattr(tuned.evaluation, name) for name in on_test} == dict.fromkeys(on_test)
    assert (tuned.evaluation.confusion, tuned.evaluation.diagnostics.calibration) == (None, ())
    assert (spec.spec_hash, tuned.evaluation.validation_loss) != (job_spec().spec_hash, None)
    assert tuned.evaluation.weights_sha256 == judged.weights_sha256


def test_proximal_l1_zeroes_weights_and_max_norm_bounds_units(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    regularization = {"proximal_l1": {"factor": 1e-2}, "max_norm": {"limit": 0.5}}
    trained = train_model(job_spec(regularization=regularization), mnist_5k, programs)
    plain = run(job_spec(), mnist_5k, programs)
    assert trained.evaluation.zero_weight_fraction > 0.001 > plain.zero_weight_fraction
    hidden = trained.model.get_layer("hidden_1").kernel.numpy()
    assert np.linalg.norm(hidden, axis=0).max() <= 0.5 + 1e-6


def test_a_schedule_is_followed_and_recorded(mnist_5k: Dataset, programs: ProgramCache) -> None:
    notes = Notes()
    schedule = {"learning_rate_schedule": {"kind": "exponential", "decay": 0.5}}
    falling = run(job_spec(regularization=schedule, training={"epochs": 3}), mnist_5k, programs, notes)
    assert [epoch.learning_rate for epoch in notes.epochs] == [0.001, 0.0005, 0.00025]
    constant = run(job_spec(training={"epochs": 3}), mnist_5k, programs)
    assert falling.weights_sha256 != constant.weights_sha256


def test_label_smoothing_changes_the_objective_and_not_the_metrics(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    notes = Notes()
    run(job_spec(regularization={"label_smoothing": {"alpha": 0.5}}), mnist_5k, programs, notes)
    epoch = notes.epochs[0]
    # The minimum of a smoothed objective is the entropy of its targets, 1.71 nats at alpha 0.5.
    assert epoch.objective > 1.71 > epoch.train_loss


def test_group_l1_zeroes_the_weights_of_pixels_and_reports_it(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    # Strong enough for one epoch: the weights of uninformative edge pixels become zero first.
    regularization = {"group_l1": {"factor": 1e-2}}
    sgd = {"optimizer": {"name": "sgd", "learning_rate": 0.5}}
    trained = train_model(job_spec(regularization=regularization, training=sgd), mnist_5k, programs)
    zero_inputs_fraction = trained.evaluation.layers[0].zero_inputs_fraction
    assert 0.02 < zero_inputs_fraction < 0.9
    kernel = trained.model.get_layer("hidden_1").kernel.numpy()
    assert zero_inputs_fraction == (kernel == 0).all(1).mean()
    assert run(job_spec(training=sgd), mnist_5k, programs).layers[0].zero_inputs_fraction == 0


def test_activity_l1_lowers_the_activations(mnist_5k: Dataset, programs: ProgramCache) -> None:
    quiet, plain = (
        train_model(job_spec(regularization=regularization), mnist_5k, programs).model
        for regularization in ({"activity_l1": {"factor": 1e-2}}, {})
    )
    images = mnist_5k.test.images / np.float32(255)
    activity = [
        keras.Model(model.input, model.get_layer("hidden_1_activation").output)
        .predict(images, verbose=0)
        .sum(axis=1)
        .mean()
        for model in (quiet, plain)
    ]
    assert activity[0] < 0.8 * activity[1]


def test_the_confidence_penalty_makes_predictions_less_confident(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    unsure, plain = (
        train_model(job_spec(regularization=regularization, training={"epochs": 4}), mnist_5k, programs)
        for regularization in ({"confidence_penalty": {"beta": 1.0}}, {})
    )
    confidence = [
        np.exp(trained.test_predictions.log_probabilities).max(axis=1).mean() for trained in (unsure, plain)
    ]
    assert confidence[0] < confidence[1] - 0.05


def test_mixup_and_augmentation_change_the_objective_and_not_the_metrics(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    plain = Notes()
    run(job_spec(), mnist_5k, programs, plain)
    for regularization in ({"mixup": {"alpha": 1.0}}, {"augmentation": {"shift": 4.0, "rotation": 20.0}}):
        notes = Notes()
        run(job_spec(regularization=regularization), mnist_5k, programs, notes)
        assert notes.epochs[0].objective > plain.epochs[0].objective
        assert notes.epochs[0].train_loss < notes.epochs[0].objective
        assert notes.epochs[0].penalty == 0


@pytest.mark.parametrize(
    "averaging", [{"exponential_moving_average": {}}, {"stochastic_weight_averaging": {"start": 0.0}}]
)
def test_averaged_weights_are_measured_and_stored_and_do_not_affect_training(
    averaging: dict[str, object], mnist_5k: Dataset, programs: ProgramCache
) -> None:
    averaged, newest = Notes(), Notes()
    changes = {"training": {"epochs": 3, "optimizer": {"learning_rate": 0.01}}}
    trained = train_model(job_spec(regularization=averaging, **changes), mnist_5k, programs, averaged)
    run(job_spec(**changes), mnist_5k, programs, newest)
    assert [epoch.objective for epoch in averaged.epochs] == [epoch.objective for epoch in newest.epochs]
    assert averaged.epochs[-1].validation_loss != newest.epochs[-1].validation_loss
    assert trained.evaluation.validation_loss is not None
    assert trained.evaluation.validation_loss == averaged.epochs[-1].validation_loss
    answers = trained.model.predict(mnist_5k.test.images / np.float32(255), verbose=0)
    assert np.allclose(answers, np.exp(trained.test_predictions.log_probabilities), atol=1e-5)


def test_the_confusion_matrix_and_layers_belong_to_the_reported_model(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    evaluation = run(job_spec(), mnist_5k, programs)
    confusion = np.array(evaluation.confusion)
    assert confusion.sum() == len(mnist_5k.test)
    assert np.trace(confusion) / confusion.sum() == evaluation.test_accuracy
    correct = np.unpackbits(np.frombuffer(evaluation.test_correct, np.uint8), count=len(mnist_5k.test))
    assert correct.mean() == evaluation.test_accuracy
    diagnostics = evaluation.diagnostics
    assert sum(diagnostics.weight_counts) + diagnostics.weight_zeros == sum(
        np.prod(layer.shape) for layer in evaluation.layers
    )
    gaps = [abs(bin_.confidence - bin_.accuracy) * bin_.n for bin_ in diagnostics.calibration]
    assert sum(gaps) / len(mnist_5k.test) == evaluation.test_ece
    assert evaluation.test_ece_debiased is not None
    assert evaluation.test_ece_debiased < evaluation.test_ece
    assert [layer.name for layer in evaluation.layers] == ["hidden_1", "logits"]
    assert np.sqrt(sum(layer.weight_norm**2 for layer in evaluation.layers)) == pytest.approx(
        evaluation.weight_norm
    )


def test_early_stopping_reports_the_best_epochs_weights(mnist_5k: Dataset, programs: ProgramCache) -> None:
    # A step size at which the validation loss soon fluctuates.
    changes = {"training": {"epochs": 12, "optimizer": {"learning_rate": 0.03}}, "seed": 2}
    notes = Notes()
    stopping = {"early_stopping": {"patience": 2}}
    evaluation = run(job_spec(regularization=stopping, **changes), mnist_5k, programs, notes)
    best = min(notes.epochs, key=lambda epoch: epoch.validation_loss or 0.0)
    assert evaluation.stop_reason == "early_stopping"
    assert evaluation.epochs_run == len(notes.epochs) == best.epoch + 2 < 12
    assert evaluation.best_epoch == evaluation.reported_epoch == best.epoch
    assert evaluation.validation_loss is not None
    assert evaluation.validation_loss == best.validation_loss
    shortened = job_spec(**(changes | {"training": {**changes["training"], "epochs": best.epoch}}))  # type: ignore[dict-item]
    assert run(shortened, mnist_5k, programs).weights_sha256 == evaluation.weights_sha256


def test_without_restoring_the_last_epoch_is_reported(mnist_5k: Dataset, programs: ProgramCache) -> None:
    spec = job_spec(
        regularization={"early_stopping": {"patience": 1, "restore_best": False}},
        training={"epochs": 12, "optimizer": {"learning_rate": 0.03}},
    )
    evaluation = run(spec, mnist_5k, programs)
    assert evaluation.reported_epoch == evaluation.epochs_run == evaluation.best_epoch + 1


def test_without_validation_data(mnist_5k: Dataset, programs: ProgramCache) -> None:
    notes = Notes()
    evaluation = run(job_spec(dataset={"validation_fraction": 0.0}), mnist_5k, programs, notes)
    assert evaluation.validation_loss is None
    assert (notes.epochs[0].validation_loss, notes.epochs[0].validation_accuracy) == (None, None)
    assert evaluation.best_epoch == evaluation.reported_epoch == 1


def test_a_non_finite_loss_fails_with_advice(mnist_5k: Dataset, programs: ProgramCache) -> None:
    spec = job_spec(
        training={"optimizer": {"name": "sgd", "learning_rate": 10.0, "momentum": 0.9}, "epochs": 5},
        regularization={"l2": {"factor": 0.1}},
    )
    with pytest.raises(TrainingFailed, match=r"lower training\.optimizer\.learning_rate") as failure:
        run(spec, mnist_5k, programs)
    assert failure.value.code == "diverged"
    # The next job on the same program starts clean.
    gentle = {"training": {"optimizer": {"learning_rate": 0.1}}, "regularization": {"l2": {"factor": 1e-4}}}
    tame = JobSpec.model_validate(merge_patch(spec.model_dump(mode="json"), gentle))
    assert get_program_shape(tame) == get_program_shape(spec)
    assert run(tame, mnist_5k, programs).test_accuracy > 0.7


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_non_finite_validation_loss_fails_too(part: str, mnist_5k: Dataset, programs: ProgramCache) -> None:
    """A pixel that is black in all training images has a weight that overflows where it is lit."""
    spec = job_spec(dataset={"train_samples": 100, "validation_fraction": 0.5}, training={"epochs": 2})
    split = split_dataset(mnist_5k, spec.dataset)
    assert split.validation is not None
    seen, held_out = split.train.images.any(axis=0), split.validation.images.any(axis=0)
    if part == "test":
        seen, held_out = seen | held_out, split.test.images.any(axis=0)
    (pixel, *_) = np.flatnonzero(held_out & ~seen)

    class WeightCorruptor(Notes):
        def on_epoch_end(
            self, record: EpochRecord, progress: Progress, checkpoint: Callable[[], Checkpoint]
        ) -> None:
            super().on_epoch_end(record, progress, checkpoint)
            if len(self.epochs) == (1 if part == "validation" else 2):
                first, *_, last = get_kernels(network)
                last.assign(last * 1e4)
                rows = first.numpy()
                rows[pixel] = 3e38
                first.assign(rows)

    network = programs.get(spec).network
    with pytest.raises(TrainingFailed, match="is not a finite number in epoch 2") as failure:
        run(spec, mnist_5k, programs, WeightCorruptor())
    assert failure.value.code == "diverged"


def test_progress_rises_to_one_and_an_observer_can_stop_the_training(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    notes = Notes()
    run(job_spec(training={"epochs": 2}), mnist_5k, programs, notes, chunk_seconds=0.01)
    fractions = [progress.fraction for progress in notes.progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert notes.progress[-1].epochs_done == 2
    assert notes.progress[-1].eta_seconds == 0.0
    with pytest.raises(RuntimeError, match="enough"):
        run(job_spec(), mnist_5k, programs, Notes(fail_at_chunk=1, then=RuntimeError("enough")))


def test_a_fixed_number_of_steps_is_that_of_passes_wherever_it_is_measured(
    mnist_5k: Dataset, programs: ProgramCache
) -> None:
    # Of 200 examples half are held out: batches of 32, 32, 32 and 4.
    examples = {"name": "mnist_5k", "train_samples": 200, "validation_fraction": 0.5}
    passes = job_spec(dataset=examples, training={"epochs": 3})
    notes = Notes()
    steps = job_spec(dataset=examples, training={"epochs": 5, "steps": 12})
    whole, measured = run(passes, mnist_5k, programs), run(steps, mnist_5k, programs, notes)
    assert measured.weights_sha256 == whole.weights_sha256
    # Every ceil(12 / 5) = 3 steps.
    assert (measured.epochs_run, measured.stop_reason) == (4, "completed")
    assert measured.training_flops == whole.training_flops
    resumed = run(steps, mnist_5k, programs, resume_from=notes.checkpoints[1])
    assert resumed.weights_sha256 == whole.weights_sha256
    few = job_spec(dataset=examples, training={"epochs": 1, "steps": 5})
    assert run(few, mnist_5k, programs).training_flops == pytest.approx(whole.training_flops * 132 / 300)
