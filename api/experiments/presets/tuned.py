"""Presets whose variants are tuned first, each at the same price, and judged with what validation chose."""

from typing import Any

from api.experiments.presets.base import THREE_SEEDS, build_preset, build_variant
from api.experiments.presets.weights import WEIGHTS
from models.documents import Document

_LEARNING_RATE = "/training/optimizer/learning_rate"


def _span(low: float, high: float) -> Document:
    return {"low": low, "high": high, "scale": "log"}


def _tune(variant: Document, **ranges: Document) -> Document:
    """The variant with ranges for fields of its techniques: `l2__factor` for `/regularization/l2/factor`."""
    fields = {f"/regularization/{name.replace('__', '/')}": span for name, span in ranges.items()}
    return variant | {"tune": {"parameters": fields}}


_SRIVASTAVA: dict[str, Any] = next(
    preset.document for preset in WEIGHTS if preset.document["name"] == "srivastava-2014"
)
_TABLE_9 = {variant["name"]: variant for variant in _SRIVASTAVA["variants"]}
_RATE, _FACTOR, _LIMIT = {"low": 0.2, "high": 0.7}, _span(1e-6, 1e-3), _span(1.0, 4.0)

TUNED = (
    build_preset(
        "fair-comparison",
        title="Six techniques and none, each with the learning rate and strength that validation chose from "
        "eight settings",
        expect="No higher test loss with dropout than with none. Tuning chooses a "
        "learning rate of its own for each variant, so that what is left of a difference is not due to one "
        "that suits only some.",
        base={"dataset": {"name": "mnist_5k"}, "training": {"epochs": 20}},
        variants=[
            build_variant("none"),
            _tune(build_variant("L1", l1={}), l1__factor=_span(1e-7, 1e-3)),
            _tune(build_variant("L2", l2={}), l2__factor=_span(1e-6, 1e-2)),
            _tune(build_variant("dropout", dropout={}), dropout__rate={"low": 0.1, "high": 0.7}),
            _tune(
                build_variant("Gaussian noise", gaussian_noise={}),
                gaussian_noise__sigma={"low": 0.02, "high": 0.5},
            ),
            _tune(
                build_variant("label smoothing", label_smoothing={}),
                label_smoothing__alpha={"low": 0.01, "high": 0.3},
            ),
            build_variant("batch normalization", batch_normalization={}),
        ],
        tune={"parameters": {_LEARNING_RATE: _span(1e-4, 1e-2)}, "trials": 8, "seeds_per_trial": 2},
    ),
    build_preset(
        "srivastava-2014-tuned",
        title="The variants of `srivastava-2014`, each with the learning rate and strengths that validation "
        "chose from eight settings",
        expect="A smaller gap in loss with dropout than without it. As in `srivastava-2014`, expect at best "
        "the order of the paper's table 9: training is far shorter.",
        base=_SRIVASTAVA["base"],
        variants=[
            _TABLE_9["none"],
            _tune(_TABLE_9["L2"], l2__factor=_FACTOR),
            _tune(_TABLE_9["max-norm"], max_norm__limit=_LIMIT),
            _tune(_TABLE_9["dropout + L2"], dropout__rate=_RATE, l2__factor=_FACTOR),
            _tune(_TABLE_9["dropout + max-norm"], dropout__rate=_RATE, max_norm__limit=_LIMIT),
        ],
        baseline="L2",
        seeds=THREE_SEEDS,
        tune={"parameters": {_LEARNING_RATE: _span(1e-2, 0.3)}, "trials": 8, "seeds_per_trial": 2},
    ),
)
