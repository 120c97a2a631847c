"""Techniques that keep weights and activations small: penalties, decay and constraints."""

from pydantic import Field

from models.techniques.base import Technique, TechniqueCard


class L1(Technique):
    """Penalize the absolute size of weights."""

    strength_parameter = "factor"
    group = "Weights and activations"

    factor: float = Field(1e-5, ge=0, le=1e-2, description="Lambda of the penalty, per weight")

    about = TechniqueCard(
        title="L1 (lasso)",
        formula="penalty = factor * sum(abs(w)) over all kernels, biases excluded",
        in_training="A constant pull of every weight towards zero, added to the objective.",
        at_inference="Nothing; the weights are smaller.",
        when_to_use="When few inputs or units should matter and the rest fade out. Together with L2 it is "
        "the elastic net (Zou and Hastie, JRSS B 67, 2005).",
        cost="One pass over the weights a step.",
        pitfall="The subgradient step makes weights tiny but hardly ever exactly zero.",
        source="Tibshirani, Regression Shrinkage and Selection via the Lasso, JRSS B 58 (1996)",
    )


class L2(Technique):
    """Penalize the squared size of weights."""

    strength_parameter = "factor"
    group = "Weights and activations"

    factor: float = Field(1e-4, ge=0, le=1e-1, description="Lambda of the penalty, per squared weight")

    about = TechniqueCard(
        title="L2 (ridge)",
        formula="penalty = factor * sum(w^2) over all kernels, biases excluded (no 1/2)",
        in_training="A pull towards zero in proportion to each weight, added to the objective.",
        at_inference="Nothing; the weights are smaller and more even.",
        when_to_use="A first choice for any overfitting network; search the factor on a logarithmic scale. "
        "Together with L1 it is the elastic net (Zou and Hastie, JRSS B 67, 2005).",
        cost="One pass over the weights a step.",
        pitfall="Under Adam it is not the same as weight decay: the penalty's gradient is rescaled with the "
        "rest. A factor of 0.01, Keras's default, destroys a 512-512 network.",
        source="Krogh and Hertz, A Simple Weight Decay Can Improve Generalization, NeurIPS 4 (1991)",
    )


class ActivityL1(Technique):
    """Penalize the absolute size of what hidden layers hand on."""

    strength_parameter = "factor"
    group = "Weights and activations"

    factor: float = Field(
        1e-4, ge=0, le=0.1, description="Lambda of the penalty, per hidden output, mean over the batch"
    )

    about = TechniqueCard(
        title="L1 activity penalty",
        formula="penalty = factor * sum(abs(h)) / examples over the outputs h of all hidden layers",
        in_training="A constant pull of every hidden output, taken after the activation, towards zero, added "
        "to the objective. The sum is divided by the examples in the batch; penalties of weights are not.",
        at_inference="Nothing; fewer units answer to an image, and more weakly.",
        when_to_use="When a sparse representation is wanted: with ReLU most units then are silent for most "
        "images. L1 makes the weights sparse instead.",
        cost="One pass over the activations a step.",
        pitfall="The sum runs over all units, and over all positions of a convolution: a wider layer is "
        "penalized more at the same factor.",
        source="Glorot, Bordes and Bengio, Deep Sparse Rectifier Neural Networks, AISTATS (2011)",
    )


class ProximalL1(Technique):
    """Penalize the absolute size of weights, and make them exactly zero."""

    strength_parameter = "factor"
    group = "Weights and activations"

    factor: float = Field(1e-4, ge=0, le=1e-2, description="Lambda of the penalty, per weight")

    about = TechniqueCard(
        title="Proximal L1 (exact zeros)",
        formula="after each step: w <- sign(w) * max(abs(w) - learning_rate * factor, 0) for all kernels",
        in_training="Every step ends by pulling each weight towards zero by learning rate times factor, and "
        "no further than zero: the proximal operator of the L1 penalty (soft thresholding).",
        at_inference="Nothing; many weights are exactly zero and could be left out.",
        when_to_use="When sparsity itself is wanted: small models, or to see which inputs matter.",
        cost="One pass over the weights a step.",
        pitfall="The pull follows the current learning rate, so a decaying schedule weakens it.",
        source="Parikh and Boyd, Proximal Algorithms, Foundations and Trends in Optimization 1 (2014), 6.5.2",
    )


class GroupL1(Technique):
    """Penalize the length of each pixel's outgoing weights, and make whole pixels exactly zero."""

    strength_parameter = "factor"
    group = "Weights and activations"
    model_families = ("mlp",)
    family_advice = "a convolution's weights belong to no single pixel; choose proximal_l1, or the family mlp"

    factor: float = Field(
        1e-3, ge=0, le=1e-2, description="Lambda of the penalty, per weight of a pixel's row"
    )

    about = TechniqueCard(
        title="Group L1 (whole pixels)",
        formula="after each step: w_p <- w_p * max(0, 1 - learning_rate * factor * sqrt(units) / norm(w_p)) "
        "over the weights w_p that leave pixel p",
        in_training="Every step ends by shortening each row of the first kernel, and no further than to "
        "zero: the proximal operator of the group lasso. The root of the row's length makes the factor mean "
        "the same in layers of any width.",
        at_inference="Nothing; pixels whose row is zero are not looked at.",
        when_to_use="Feature selection: to see which pixels a fully connected network needs. Proximal L1 "
        "zeroes single weights and seldom all weights of a pixel.",
        cost="Two passes over the first kernel a step.",
        pitfall="It is for fully connected networks alone: a convolution's rows are no pixels. The pull "
        "follows the current learning rate, so a decaying schedule weakens it.",
        source="Yuan and Lin, Model Selection and Estimation in Regression with Grouped Variables, "
        "JRSS B 68 (2006)",
    )


class WeightDecay(Technique):
    """Shrink all weights a little at each step, apart from the gradient."""

    strength_parameter = "factor"
    group = "Weights and activations"

    factor: float = Field(4e-3, ge=0, le=0.5, description="Share lost each step is learning rate * factor")

    about = TechniqueCard(
        title="Decoupled weight decay",
        formula="at each step: w <- w - learning_rate * factor * w for all kernels, then the optimizer",
        in_training="Weights shrink in proportion to themselves, whatever the optimizer does with gradients. "
        "With Adam this is AdamW: `adam` and `adamw` are one and the same optimizer here.",
        at_inference="Nothing; the weights are smaller.",
        when_to_use="In place of L2 under Adam, where a penalty's gradient is rescaled.",
        cost="One pass over the weights a step.",
        pitfall="Biases, gamma and beta do not decay here; in Keras's AdamW they do unless excluded.",
        source="Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR (2019)",
    )


class MaxNorm(Technique):
    """Bound the length of each hidden unit's incoming weights."""

    strength_parameter = "limit"
    group = "Weights and activations"

    limit: float = Field(
        3.0, ge=0.5, le=10, description="Largest Euclidean norm of a unit's incoming weights"
    )

    about = TechniqueCard(
        title="Max-norm constraint",
        formula="after each step: w_j <- w_j * min(1, limit / norm(w_j)) over unit j's incoming weights w_j",
        in_training="A unit whose incoming weights have grown too long is scaled back to the limit.",
        at_inference="Nothing; no unit's weights are longer than the limit.",
        when_to_use="Together with dropout and a high learning rate: it keeps weights from running away.",
        cost="Two passes over the weights a step.",
        pitfall="A limit above what the norms reach anyway does nothing.",
        source="Srebro and Shraibman, Rank, Trace-Norm and Max-Norm, COLT (2005); Srivastava et al., "
        "JMLR 15 (2014), section 5.1",
    )
