"""Presets about the training examples: few of them, in parts, wrong labels, altered images."""

from typing import Any

from api.experiments.presets.base import EIGHT_SEEDS, build_preset, build_variant
from models.axes import TRAIN_SAMPLES
from models.documents import Document, merge_patch

# Trained on a fifth of mnist_5k each, until the wide networks fit their 640 examples.
_ON_PARTS: Document = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 30}}


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
        base=_ON_PARTS,
        axes=[
            {
                "field": "/model/hidden_units",
                "values": [[width] for width in (2, 5, 10, 20, 50, 100, 300, 1000)],
            }
        ],
        variants=[
            build_variant("none"),
            build_variant("L2", l2={"factor": 1e-3}),
            build_variant("dropout", dropout={"rate": 0.5}),
        ],
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
        "size-path",
        title="L2, dropout and label smoothing compared with none at 250 to 4,000 training examples",
        expect="The test error falls with the number of examples, along a + b n^-c. With equal "
        "epochs few examples also mean few updates, so that at 250 there is little overfitting to prevent; "
        "dropout lowers the test loss from some hundred examples on. Label smoothing gains accuracy with "
        "many examples, and always at a higher test loss, because it keeps probabilities away from one.",
        base={"model": {"hidden_units": [256]}, "training": {"epochs": 20}},
        variants=[
            build_variant("none"),
            build_variant("L2", l2={"factor": 1e-3}),
            build_variant("dropout", dropout={"rate": 0.5}),
            build_variant("label smoothing", label_smoothing={"alpha": 0.1}),
        ],
        seeds=EIGHT_SEEDS,
        axes=[{"field": TRAIN_SAMPLES, "values": [250, 500, 1000, 2000, 4000]}],
    ),
    build_preset(
        "lambda-by-size",
        title="L2's factor, 1e-5 to 1e-1, at 250, 1,000 and 4,000 training examples",
        expect="With equal epochs few examples mean few updates: at 250 no factor up to 1e-3 makes a "
        "difference. With more examples 1e-4 and 1e-3 lower the test loss, and validation chooses one of "
        "them; 1e-2 and 1e-1 are too strong at every size.",
        base={"model": {"hidden_units": [256]}, "training": {"epochs": 20}},
        variants=[
            build_variant("none"),
            *(
                build_variant(f"L2 {factor}", l2={"factor": float(factor)})
                for factor in ("1e-5", "1e-4", "1e-3", "1e-2", "1e-1")
            ),
        ],
        seeds=EIGHT_SEEDS,
        axes=[{"field": TRAIN_SAMPLES, "values": [250, 1000, 4000]}],
    ),
    build_preset(
        "small-data",
        title="125 to 4,000 training examples, without and with dropout, with 2,000 updates each",
        expect="Test accuracy rises with the number of examples. With a few hundred of them dropout does not "
        "raise accuracy, and the test loss is higher with it, because the weights continue to grow on "
        "examples that are already fitted. Srivastava et al. (JMLR 2014) gained most with an "
        "intermediate number.",
        base={"training": {"epochs": 20, "steps": 2000}},
        variants=[build_variant("none"), build_variant("dropout", dropout={"rate": 0.5})],
        seeds=EIGHT_SEEDS,
        axes=[{"field": TRAIN_SAMPLES, "values": [125, 250, 500, 1000, 2000, 4000]}],
    ),
    build_preset(
        "label-noise",
        title="Which techniques help where 0 to 60 % of 2,000 training labels are drawn at random (0 to 54 % "
        "wrong)",
        expect="The unregularized network memorizes the wrong labels, and its test accuracy falls with their "
        "share. With wrong labels, dropout, early stopping and strong L2 each preserve more of it.",
        base={"dataset": {"train_samples": 2000}, "training": {"epochs": 20}},
        variants=[
            build_variant("none"),
            build_variant("dropout", dropout={"rate": 0.5}),
            build_variant("early stopping", early_stopping={"patience": 5}),
            build_variant("label smoothing", label_smoothing={"alpha": 0.1}),
            build_variant("L2", l2={"factor": 1e-2}),
        ],
        seeds=EIGHT_SEEDS,
        axes=[{"field": "/dataset/label_noise", "values": [0.0, 0.2, 0.4, 0.6]}],
    ),
    build_preset(
        "robustness",
        title="Shifted, rotated, noisy, blurred and partly hidden test images: which techniques help",
        expect="Augmentation gains much on shifted, rotated and sheared images and loses on noisy and "
        "brighter ones, so that its mean over all kinds need not rise; L2 and noise on the input gain on "
        "noisy ones. A gain on the test images themselves says little about damaged ones.",
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
