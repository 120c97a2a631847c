"""Presets about the training examples: few of them, in parts, wrong labels, altered images."""

from typing import Any

from api.experiments.presets.base import build_preset, build_variant
from models.documents import Document, merge_patch

# Size: epochs that come to about 4,000 updates of batches of 32, a fifth of the examples being held out.
_EPOCHS_OF_SIZE = {125: 1000, 250: 572, 500: 308, 1000: 160, 2000: 80, 4000: 40}
# Trained on a fifth of mnist_5k each, until the wide networks fit their 640 examples.
_ON_PARTS: Document = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 30}}
_WITHOUT_AND_WITH: tuple[tuple[str, Document], ...] = (("", {}), (" + dropout", {"dropout": {"rate": 0.5}}))


def _extend(of: Document, **changes: Any) -> Document:
    """A variant with further changes than techniques."""
    merged: Document = merge_patch(of, {"changes": changes})
    return merged


DATA = (
    build_preset(
        "bias-variance",
        title="Bias and variance of one hidden layer of 2 to 1,000 units without and with L2 or dropout, "
        "over five parts of the training examples",
        expect="Bias falls with the width. Variance rises as long as the network is too small to fit the "
        "training examples, and levels off in wider ones: more parameters than examples need not mean more "
        "variance (Neal et al. 2018). L2 and dropout lower the variance of wide networks; dropout of narrow "
        "ones raises the bias.",
        allow_confounders=True,
        base=_ON_PARTS,
        variants=[
            _extend(build_variant(f"width {width:,}{suffix}", **techniques), model={"hidden_units": [width]})
            for suffix, techniques in (
                ("", {}),
                (" + L2", {"l2": {"factor": 1e-3}}),
                (" + dropout", {"dropout": {"rate": 0.5}}),
            )
            for width in (2, 5, 10, 20, 50, 100, 300, 1000)
        ],
        baseline="width 100",
        seeds=[0, 1],
        parts=5,
    ),
    build_preset(
        "bias-variance-lambda",
        title="Bias and variance along L2's factor, over five parts of the training examples",
        expect="With the factor the variance falls and the bias rises; the loss is lowest in between.",
        base=_ON_PARTS | {"model": {"hidden_units": [100]}},
        variants=[
            build_variant("none"),
            *(
                build_variant(f"L2 {factor}", l2={"factor": float(factor)})
                for factor in ("1e-5", "1e-4", "1e-3", "3e-3", "1e-2", "3e-2", "1e-1")
            ),
        ],
        seeds=[0, 1],
        parts=5,
    ),
    build_preset(
        "small-data",
        title="125 to 4,000 examples and all, without and with dropout, with about the same number of "
        "updates",
        expect="Test accuracy rises with the number of examples. With a few hundred of them dropout does not "
        "raise accuracy, and the test loss is higher with it, because the weights continue to grow on "
        "examples that are already fitted. Srivastava et al. (JMLR 2014) gained most with an "
        "intermediate number. On mnist_5k compare with the baseline 4,000: there the full size makes "
        "a tenth of the others' updates.",
        allow_confounders=True,
        base={"training": {"epochs": 3}},
        # Each size without and with dropout, then the full size; pairs stand together.
        variants=[
            _extend(
                build_variant(f"{size:,}{suffix}", **techniques),
                dataset={"train_samples": size},
                training={"epochs": epochs},
            )
            for size, epochs in _EPOCHS_OF_SIZE.items()
            for suffix, techniques in _WITHOUT_AND_WITH
        ]
        + [build_variant(f"full size{suffix}", **techniques) for suffix, techniques in _WITHOUT_AND_WITH],
        baseline="full size",
    ),
    build_preset(
        "label-noise",
        title="0 to 60 % of the training labels drawn at random (0 to 54 % wrong) without regularization, "
        "and which techniques help at 40 % (36 % wrong)",
        expect="The unregularized network memorizes the wrong labels, and its test accuracy falls with their "
        "share. At 40 %, dropout, early stopping, label smoothing and strong L2 each preserve more of "
        "it.",
        allow_confounders=True,
        base={"dataset": {"label_noise": 0.4}, "training": {"epochs": 30}},
        variants=[
            *(
                _extend(build_variant(f"{share:.0%} noise"), dataset={"label_noise": share})
                for share in (0.0, 0.2, 0.4, 0.6)
            ),
            build_variant("40% noise + dropout", dropout={"rate": 0.5}),
            build_variant("40% noise + early stopping", early_stopping={"patience": 5}),
            build_variant("40% noise + label smoothing", label_smoothing={"alpha": 0.1}),
            build_variant("40% noise + L2", l2={"factor": 1e-2}),
        ],
        baseline="40% noise",
    ),
    build_preset(
        "robustness",
        title="Shifted, rotated, noisy, blurred and partly hidden test images: which techniques help",
        expect="Augmentation gains most, above all on shifted and rotated images; noise on the input on "
        "noisy ones. Weight penalties and dropout change little, so that a gain on the test images "
        "themselves says little about damaged ones.",
        base={
            "evaluation": {"robustness": True},
            "training": {"epochs": 30},
        },
        variants=[
            build_variant("none"),
            build_variant("L2", l2={"factor": 1e-4}),
            build_variant("dropout", dropout={"rate": 0.5}),
            build_variant("input noise", gaussian_noise={"sigma": 0.3}),
            build_variant("label smoothing", label_smoothing={}),
            build_variant("augmentation", augmentation={}),
        ],
    ),
    build_preset(
        "augmentation",
        title="Shifted, rotated, zoomed, distorted and mixed training images compared with unchanged ones",
        expect="The best test accuracy that any technique gives a fully connected network, with elastic "
        "distortion first and mixup last. The unchanged training images are fitted less closely, so "
        "that more epochs of training help.",
        base={"training": {"epochs": 30}},
        variants=[
            build_variant("none"),
            build_variant("shift", augmentation={"shift": 2.0, "rotation": 0.0}),
            build_variant("shift + rotation", augmentation={"shift": 2.0, "rotation": 10.0}),
            build_variant(
                "shift + rotation + zoom", augmentation={"shift": 2.0, "rotation": 10.0, "zoom": 0.1}
            ),
            build_variant("elastic", augmentation={"shift": 0.0, "rotation": 0.0, "elastic": 34.0}),
            build_variant("mixup", mixup={"alpha": 0.2}),
        ],
    ),
)
