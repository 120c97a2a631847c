"""A search by Optuna over plain Keras models: what one would write without Regbench.

python -m bench optuna_search [--trials 12] [--epochs 10]
"""

import argparse
from typing import Any

import optuna

from bench.workload import BATCH_SIZE, LAYERS, build_spec, load_split, scale_pixels


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """The changes of a trial, as those of a variant."""
    return {
        "regularization": {
            "dropout": {"rate": trial.suggest_float("rate", 0.1, 0.6)},
            "l2": {"factor": trial.suggest_float("factor", 1e-6, 1e-3, log=True)},
        },
        "training": {
            "optimizer": {"learning_rate": trial.suggest_float("learning_rate", 3e-4, 3e-3, log=True)}
        },
    }


def draw_trials(count: int) -> list[dict[str, Any]]:
    """The changes that the script below tries."""
    study = _create_study()
    return [suggest(study.ask()) for _ in range(count)]


def _create_study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="minimize", sampler=optuna.samplers.RandomSampler(seed=0))


def main() -> None:
    """Search, and print the best trial."""
    parser = argparse.ArgumentParser(description="A search by Optuna over plain Keras models.")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    import keras  # noqa: PLC0415 (the other end of the comparison imports this module without it)

    split = load_split(build_spec("mnist_5k"))
    train, validation = split.train, split.validation
    assert validation is not None  # noqa: S101 (build_spec asks for it)
    inputs, *hidden, classes = LAYERS

    def evaluate(trial: optuna.Trial) -> float:
        keras.utils.set_random_seed(trial.number)
        changes = suggest(trial)
        techniques = changes["regularization"]
        l2 = keras.regularizers.L2(techniques["l2"]["factor"])
        layers = [keras.Input((inputs,))]
        for units in hidden:
            layers.append(keras.layers.Dense(units, activation="relu", kernel_regularizer=l2))
            layers.append(keras.layers.Dropout(techniques["dropout"]["rate"]))
        model = keras.Sequential([*layers, keras.layers.Dense(classes, kernel_regularizer=l2)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(changes["training"]["optimizer"]["learning_rate"]), loss)
        history = model.fit(
            scale_pixels(train.images),
            train.labels,
            batch_size=BATCH_SIZE,
            epochs=arguments.epochs,
            validation_data=(scale_pixels(validation.images), validation.labels),
            verbose=0,
        )
        return float(history.history["val_loss"][-1])

    study = _create_study()
    study.optimize(evaluate, n_trials=arguments.trials)
    print(f"best: trial {study.best_trial.number}, {study.best_params}")
