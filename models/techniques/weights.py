"""Techniques that keep weights and activations small: penalties, decay and constraints."""

from pydantic import Field

from models.techniques.base import Technique, TechniqueCard


class L1(Technique):
    """Penalize the absolute size of weights."""

    strength_parameter = "factor"
    group = "Weights and activations"

    factor: float = Field(1e-5, ge=0, le=10, description="Lambda of the penalty, per weight")

    about = TechniqueCard(
        title="L1 (lasso)",
        formula="penalty = factor * sum(abs(w)) over all kernels, biases excluded",
        in_training="Every weight is pulled towards zero by a constant amount, "
        "through a term of the objective.",
        at_inference="Nothing; the weights are smaller.",
        when_to_use="When only few inputs or units should have an effect. Together with L2 it is "
        "the elastic net (Zou and Hastie, JRSS B 67, 2005).",
        cost="One pass over the weights per step.",
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
        in_training="Every weight is pulled towards zero in proportion to its size, "
        "through a term of the objective.",
        at_inference="Nothing; the weights are smaller and more even.",
        when_to_use="A first choice for any overfitting network; search the factor on a logarithmic scale. "
        "Together with L1 it is the elastic net (Zou and Hastie, JRSS B 67, 2005).",
        cost="One pass over the weights per step.",
        pitfall="Under Adam it is not the same as weight decay: the penalty's gradient is rescaled with the "
        "rest. A factor of 0.01, Keras's default, destroys a 512-512 network.",
        source="Krogh and Hertz, A Simple Weight Decay Can Improve Generalization, NeurIPS 4 (1991)",
    )


class ActivityL1(Technique):
    """Penalize the absolute size of what hidden layers hand on."""

    strength_parameter = "factor"
    group = "Weights and activations"
    families_that_need_hidden_units = ("mlp",)

    factor: float = Field(
        1e-4, ge=0, le=0.1, description="Lambda of the penalty, per hidden output, mean over the batch"
    )

    about = TechniqueCard(
        title="L1 activity penalty",
        formula="penalty = factor * sum(abs(h)) / examples over the outputs h of all hidden layers",
        in_training="Every hidden output, after the activation, is pulled towards zero by a constant amount, "
        "through a term of the objective. The sum is divided by the examples in the batch; "
        "penalties of weights are not.",
        at_inference="Nothing; fewer units are active for an image, and more weakly.",
        when_to_use="When a sparse representation is wanted: with ReLU most units are then zero for most "
        "images. L1 makes the weights sparse instead.",
        cost="One pass over the activations per step.",
        pitfall="The sum runs over all units, and over all positions of a convolution: a wider layer is "
        "penalized more at the same factor.",
        source="Glorot, Bordes and Bengio, Deep Sparse Rectifier Neural Networks, AISTATS (2011)",
    )


class ProximalL1(Technique):
    """Penalize the absolute size of weights, and make them exactly zero."""

    strength_parameter = "factor"
    group = "Weights and activations"

    # Under Adam a step is as long as the learning rate, whatever the gradient: only a factor of 1 or more
    # outweighs it, and empties the whole kernel.
    factor: float = Field(1e-4, ge=0, le=10, description="Lambda of the penalty, per weight")

    about = TechniqueCard(
        title="Proximal L1 (exact zeros)",
        formula="after each step: w <- sign(w) * max(abs(w) - learning_rate * factor, 0) for all kernels",
        in_training="Every step ends by pulling each weight towards zero by learning rate times factor, and "
        "no further than zero: the proximal operator of the L1 penalty (soft thresholding).",
        at_inference="Nothing; many weights are exactly zero and could be omitted.",
        when_to_use="When sparsity itself is wanted: small models, or to see which inputs matter.",
        cost="One pass over the weights per step.",
        pitfall="The pull follows the current learning rate, so a decaying schedule weakens it.",
        source="Parikh and Boyd, Proximal Algorithms, Foundations and Trends in Optimization 1 (2014), 6.5.2",
    )


class GroupL1(Technique):
    """Penalize the length of each pixel's outgoing weights, and make whole pixels exactly zero."""

    strength_parameter = "factor"
    group = "Weights and activations"
    model_families = ("mlp",)
    family_advice = (
        "a convolution's weights do not belong to single pixels; choose proximal_l1, or the family mlp"
    )

    factor: float = Field(
        1e-3, ge=0, le=1e-2, description="Lambda of the penalty, per weight of a pixel's row"
    )

    about = TechniqueCard(
        title="Group L1 (whole pixels)",
        formula="after each step: w_p <- w_p * max(0, 1 - learning_rate * factor * sqrt(units) / norm(w_p)) "
        "over the weights w_p that leave pixel p",
        in_training="Every step ends by shortening each row of the first kernel, "
        "and no further than to zero: "
        "the proximal operator of the group lasso. The square root of the row's length makes the "
        "factor comparable between layers of any width.",
        at_inference="Nothing; pixels whose row is zero have no effect.",
        when_to_use="Feature selection: to see which pixels a fully connected network needs. Proximal L1 "
        "zeroes single weights and seldom all weights of a pixel.",
        cost="Two passes over the first kernel per step.",
        pitfall="It is for fully connected networks only: a convolution's rows do "
        "not correspond to pixels. The pull "
        "follows the current learning rate, so a decaying schedule weakens it.",
        source="Yuan and Lin, Model Selection and Estimation in Regression with Grouped Variables, "
        "JRSS B 68 (2006)",
    )


class WeightDecay(Technique):
    """Shrink all weights a little at each step, apart from the gradient."""

    strength_parameter = "factor"
    group = "Weights and activations"

    factor: float = Field(
        4e-3, ge=0, le=0.5, description="The share removed at each step is learning rate * factor"
    )

    about = TechniqueCard(
        title="Decoupled weight decay",
        formula="at each step: w <- w - learning_rate * factor * w for all kernels, then the optimizer",
        in_training="Weights shrink in proportion to themselves, independently of the gradients. With Adam "
        "this is AdamW: `adam` and `adamw` are the same optimizer here.",
        at_inference="Nothing; the weights are smaller.",
        when_to_use="Instead of L2 under Adam, where a penalty's gradient is rescaled.",
        cost="One pass over the weights per step.",
        pitfall="Biases, gamma and beta do not decay here; in Keras's AdamW they do unless excluded.",
        source="Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR (2019)",
    )


class MaxNorm(Technique):
    """Bound the length of each hidden unit's incoming weights."""

    strength_parameter = "limit"
    group = "Weights and activations"
    families_that_need_hidden_units = ("mlp",)

    limit: float = Field(
        3.0, ge=0.5, le=10, description="Largest Euclidean norm of a unit's incoming weights"
    )

    about = TechniqueCard(
        title="Max-norm constraint",
        formula="after each step: w_j <- w_j * min(1, limit / norm(w_j)) over unit j's incoming weights w_j",
        in_training="The incoming weights of a unit are scaled down if their norm exceeds the limit.",
        at_inference="Nothing; no unit's weights exceed the limit.",
        when_to_use="Together with dropout and a high learning rate: it prevents "
        "weights from growing without bound.",
        cost="Two passes over the weights per step.",
        pitfall="A limit above the norms that are reached has no effect.",
        source="Srebro and Shraibman, Rank, Trace-Norm and Max-Norm, COLT (2005); Srivastava et al., "
        "JMLR 15 (2014), section 5.1",
    )
