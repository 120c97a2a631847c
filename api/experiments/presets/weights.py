"""Presets about the size of weights: penalties, exact zeros, and norms held within bounds."""

from api.experiments.presets.base import THREE_SEEDS, build_preset, build_variant

_LAMBDAS = ["1e-6", "1e-5", "1e-4", "1e-3", "1e-2", "1e-1"]

WEIGHTS = (
    build_preset(
        "l1-vs-l2",
        title="L1, L2 and both (elastic net) compared with none",
        expect="Smaller weight norms and smaller gaps in loss with either penalty, at about the same "
        "accuracy; hardly any exact zeros with L1, because a subgradient step does not stop at zero.",
        variants=[
            build_variant("none"),
            build_variant("L1", l1={"factor": 1e-5}),
            build_variant("L2", l2={"factor": 1e-4}),
            build_variant("L1 + L2", l1={"factor": 1e-5}, l2={"factor": 1e-4}),
        ],
    ),
    build_preset(
        "lambda-path",
        title="L2 from negligible to far too strong: factors 1e-6 to 1e-1, each ten times the previous one",
        expect="The weight norm falls with every step of the factor. The test loss is U-shaped: a factor in "
        "the middle is better than both ends, and the largest underfits, on the training images too.",
        variants=[
            build_variant("none"),
            *(build_variant(f"L2 {factor}", l2={"factor": float(factor)}) for factor in _LAMBDAS),
        ],
    ),
    build_preset(
        "sparsity",
        title="Which methods give exact zeros: L1's subgradient, proximal L1 and group L1",
        expect="Almost no exact zeros with L1; some with proximal L1 of the same factor, at the same loss, "
        "and more with a larger factor. The zeros of group L1 are whole rows of the first kernel, "
        "that is, pixels that it does not need; proximal L1 empties a row only if the pixel is almost "
        "always black.",
        # Plain SGD: behind Adam, which rescales gradients, a proximal step is of another penalty.
        base={"training": {"optimizer": {"name": "sgd", "learning_rate": 0.1}}},
        variants=[
            build_variant("none"),
            build_variant("L1 1e-4", l1={"factor": 1e-4}),
            build_variant("proximal L1 1e-4", proximal_l1={"factor": 1e-4}),
            build_variant("proximal L1 1e-3", proximal_l1={"factor": 1e-3}),
            build_variant("group L1 1e-4", group_l1={"factor": 1e-4}),
            build_variant("group L1 5e-4", group_l1={"factor": 5e-4}),
        ],
    ),
    build_preset(
        "srivastava-2014",
        title="L2, max-norm, and dropout with each of them, on 784-1024-1024-2048-10 (after table 9 of "
        "Srivastava et al.)",
        expect="Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR "
        "15 (2014), table 9, report test errors of 1.62 % with L2, 1.35 % with max-norm, 1.25 % with "
        "dropout and L2, 1.05 % with dropout and max-norm. Expect that order at best, and not those "
        "values: training here is far shorter, which affects dropout most, one learning rate is used "
        "for all, and none is tuned.",
        base={
            "model": {"hidden_units": [1024, 1024, 2048]},
            "training": {
                # Momentum 0.95 and a step ten times the usual, as the paper advises with dropout.
                "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.95},
                "batch_size": 100,
                "epochs": 30,
            },
        },
        variants=[
            build_variant("none"),
            build_variant("L2", l2={"factor": 1e-5}),
            # The paper's limits of 3 to 4 are hardly reached by units that begin with a norm of 1.
            build_variant("max-norm", max_norm={"limit": 1.5}),
            build_variant("dropout + L2", dropout={"rate": 0.5, "input_rate": 0.2}, l2={"factor": 1e-5}),
            build_variant(
                "dropout + max-norm", dropout={"rate": 0.5, "input_rate": 0.2}, max_norm={"limit": 1.5}
            ),
        ],
        baseline="L2",
        seeds=THREE_SEEDS,
    ),
)
