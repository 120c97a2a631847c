"""One model of the study as a plain Keras script: what one would write without Regbench.

python -m bench script --technique dropout --seed 0 [--epochs 30]
"""

import argparse

import keras

from bench.workload import BATCH_SIZE, LAYERS, LEARNING_RATE, build_spec, load_split, scale_pixels

# The strengths are Regbench's defaults.
_REGULARIZED = {
    "l1": {"kernel_regularizer": keras.regularizers.L1(1e-5)},
    "l2": {"kernel_regularizer": keras.regularizers.L2(1e-4)},
    "max_norm": {"kernel_constraint": keras.constraints.MaxNorm(3.0)},
}
_DROPOUT_RATE = 0.5


def main() -> None:
    """Train one model and print its test accuracy."""
    parser = argparse.ArgumentParser(description="One model of the study as a plain Keras script.")
    parser.add_argument("--technique", default="none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    split = load_split(build_spec("mnist_5k"))
    train, validation, test = split.train, split.validation, split.test
    assert validation is not None  # noqa: S101 (build_spec asks for it)
    inputs, *hidden, classes = LAYERS
    layers = [keras.Input((inputs,))]
    for units in hidden:
        layers += _build_hidden(units, arguments.technique)
    output = keras.layers.Dense(classes, **_REGULARIZED.get(arguments.technique, {}))
    model = keras.Sequential([*layers, output])
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        scale_pixels(train.images),
        train.labels,
        batch_size=BATCH_SIZE,
        epochs=arguments.epochs,
        validation_data=(scale_pixels(validation.images), validation.labels),
        verbose=0,
    )
    _, accuracy = model.evaluate(scale_pixels(test.images), test.labels, verbose=0)
    print(f"{arguments.technique}, seed {arguments.seed}: test accuracy {accuracy:.4f}")


def _build_hidden(units: int, technique: str) -> list[keras.layers.Layer]:
    dense, relu = keras.layers.Dense, keras.layers.Activation("relu")
    match technique:
        case "none":
            return [dense(units), relu]
        case "dropout":
            return [dense(units), relu, keras.layers.Dropout(_DROPOUT_RATE)]
        case "batch_normalization":
            return [dense(units, use_bias=False), keras.layers.BatchNormalization(), relu]
        case _:
            return [dense(units, **_REGULARIZED[technique]), relu]
