from dataclasses import replace

import keras
import numpy as np
import pytest

from models.cost import estimate_cost
from models.dataset_cards import DATASETS
from models.spec import JobSpec
from tests.factories import job_spec
from worker.network import KerasLayers, build_network, export_model, get_kernels, set_initial_weights
from worker.program import CompiledLayers
from worker.techniques.randomness import StepClock


def network_of(spec: JobSpec, seed: int = 0) -> keras.Model:
    network = build_network(spec, CompiledLayers(StepClock()))
    set_initial_weights(network, seed)
    return network


def layer_names(**regularization: object) -> list[str]:
    spec = job_spec(model={"hidden_units": [8, 4]}, regularization=regularization)
    return [layer.name for layer in network_of(spec).layers]


def test_plain_network() -> None:
    network = network_of(job_spec(model={"hidden_units": [512, 512]}))
    assert network.count_params() == 669_706
    assert network.output.shape == (None, 10)
    assert [kernel.shape for kernel in get_kernels(network)] == [(784, 512), (512, 512), (512, 10)]


def test_dropout_follows_each_hidden_layer_and_precedes_none_of_its_normalization() -> None:
    assert layer_names(dropout={"rate": 0.5, "input_rate": 0.1}, batch_normalization={}) == [
        "images",
        "input_dropout",
        "hidden_1",
        "hidden_1_normalization",
        "hidden_1_activation",
        "dropout_1",
        "hidden_2",
        "hidden_2_normalization",
        "hidden_2_activation",
        "dropout_2",
        "logits",
    ]


def test_normalization_after_the_activation() -> None:
    names = layer_names(batch_normalization={"position": "after_activation"})
    assert names[1:4] == ["hidden_1", "hidden_1_activation", "hidden_1_normalization"]


def test_a_rate_of_zero_builds_the_plain_network() -> None:
    assert layer_names(dropout={"rate": 0.0}) == layer_names()


def test_adding_dropout_leaves_every_initial_weight_as_it_was() -> None:
    plain = network_of(job_spec(), seed=5)
    dropped = network_of(job_spec(regularization={"dropout": {}}), seed=5)
    for before, after in zip(plain.get_weights(), dropped.get_weights(), strict=True):
        assert np.array_equal(before, after)


def test_initial_weights_are_glorots_and_differ_by_seed_and_layer() -> None:
    spec = job_spec(model={"hidden_units": [300, 300, 300]})
    first, other = network_of(spec, seed=1), network_of(spec, seed=2)
    second, third = (first.get_layer(name).kernel.numpy() for name in ("hidden_2", "hidden_3"))
    limit = np.sqrt(6 / (300 + 300))
    assert np.abs(second).max() <= limit
    # A uniform distribution's standard deviation; 90,000 draws.
    assert second.std() == pytest.approx(limit / np.sqrt(3), rel=0.01)
    assert not np.array_equal(second, third)
    assert not np.array_equal(second, other.get_layer("hidden_2").kernel.numpy())
    assert not first.get_layer("hidden_2").bias.numpy().any()


def test_an_exported_model_loads_with_keras_alone_and_predicts_the_same(tmp_path: object) -> None:
    spec = job_spec(regularization={"dropout": {"rate": 0.3, "input_rate": 0.1}, "batch_normalization": {}})
    network = network_of(spec, seed=3)
    path = f"{tmp_path}/model.keras"
    export_model(spec, network).save(path)
    loaded = keras.saving.load_model(path, safe_mode=True)
    images = np.random.default_rng(0).uniform(size=(7, 784)).astype(np.float32)
    expected = keras.ops.softmax(network(images, training=False)).numpy()
    assert np.allclose(loaded.predict(images, verbose=0), expected, atol=1e-6)
    # Another seed's weights answer otherwise, so the comparison above can fail.
    assert not np.allclose(expected, keras.ops.softmax(network_of(spec, seed=4)(images)).numpy(), atol=1e-3)


CNN = {"family": "cnn", "filters": [4, 6], "kernel_size": 3, "hidden_units": [8]}


def test_convolutional_network() -> None:
    spec = job_spec(model=CNN, regularization={"spatial_dropout": {}, "batch_normalization": {}})
    network = network_of(spec)
    assert [layer.name for layer in network.layers][:8] == [
        "images",
        "square",
        "convolution_1",
        "convolution_1_normalization",
        "convolution_1_activation",
        "pooling_1",
        "spatial_dropout_1",
        "convolution_2",
    ]
    # Images of 28, 14 and 7 pixels a side: two poolings leave 7 x 7 x 6 numbers.
    assert [kernel.shape for kernel in get_kernels(network)] == [
        (3, 3, 1, 4),
        (3, 3, 4, 6),
        (294, 8),
        (8, 10),
    ]


@pytest.mark.parametrize("regularization", [{}, {"batch_normalization": {}}, {"layer_normalization": {}}])
@pytest.mark.parametrize("model", [{}, CNN], ids=["mlp", "cnn"])
def test_the_cost_estimate_counts_the_actual_parameters(
    model: dict[str, object], regularization: dict[str, object]
) -> None:
    spec = job_spec(model=model, regularization=regularization)
    trained = network_of(spec).trainable_weights
    assert estimate_cost(spec).parameters == sum(int(np.prod(weight.shape)) for weight in trained)


def test_an_exported_convolutional_network_predicts_the_same(tmp_path: object) -> None:
    spec = job_spec(model=CNN, regularization={"spatial_dropout": {"rate": 0.5}})
    network = network_of(spec, seed=3)
    path = f"{tmp_path}/model.keras"
    export_model(spec, network).save(path)
    images = np.random.default_rng(0).uniform(size=(7, 784)).astype(np.float32)
    expected = keras.ops.softmax(build_like(spec, network)(images, training=False)).numpy()
    assert np.allclose(keras.saving.load_model(path).predict(images, verbose=0), expected, atol=1e-6)


def build_like(spec: JobSpec, network: keras.Model) -> keras.Model:
    """The same network from Keras's own layers, with the weights of `network`."""
    stock = build_network(spec, KerasLayers())
    stock.set_weights(network.get_weights())
    return stock


@pytest.mark.parametrize("classes", [2, 62])
def test_the_dataset_says_how_many_classes_a_network_has(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "mnist_5k", replace(DATASETS["mnist_5k"], classes=classes))
    # A learning rate of its own: costs are cached by specification.
    spec = job_spec(model={"hidden_units": [8]}, training={"optimizer": {"learning_rate": classes / 100}})
    network = network_of(spec)
    assert network.output.shape == (None, classes)
    assert network.count_params() == estimate_cost(spec).parameters
