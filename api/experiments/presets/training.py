"""Presets about the course of the training and its targets: when to stop, what to keep, how certain to be."""

from api.experiments.presets.base import build_preset, build_variant

TRAINING = (
    build_preset(
        "early-stopping",
        title="A hundred epochs, or fewer with early stopping",
        expect="Without stopping, the validation loss is lowest after few epochs and then rises, while the "
        "accuracy hardly changes. Early stopping keeps the lowest loss and saves most of the time; "
        "accuracy may be slightly lower. With dropout the lowest loss is lower still.",
        base={"training": {"epochs": 100}},
        variants=[
            build_variant("none"),
            build_variant("early stopping", early_stopping={"patience": 5}),
            build_variant("dropout + early stopping", dropout={"rate": 0.5}, early_stopping={"patience": 5}),
        ],
    ),
    build_preset(
        "label-smoothing",
        title="Label smoothing 0.01 to 0.2 compared with none",
        expect="The calibration error rises with alpha, because on MNIST more confidence is justified than "
        "smoothed labels allow. Only the smallest alpha may lower it, if few examples have made the "
        "network overconfident. Accuracy is equal or better.",
        variants=[
            build_variant("none"),
            *(
                build_variant(f"alpha {alpha}", label_smoothing={"alpha": alpha})
                for alpha in (0.01, 0.05, 0.1, 0.2)
            ),
        ],
    ),
    build_preset(
        "weight-averaging",
        title="Averages of the weights and a decaying learning rate compared with none",
        expect="A lower test loss with each, because they remove the noise of the last steps at a constant "
        "learning rate.",
        variants=[
            build_variant("none"),
            build_variant("EMA", exponential_moving_average={"decay": 0.999}),
            build_variant("SWA", stochastic_weight_averaging={"start": 0.5}),
            build_variant("cosine schedule", learning_rate_schedule={"kind": "cosine"}),
        ],
    ),
)
