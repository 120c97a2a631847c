"""Techniques that disturb what flows through the network in training."""

from pydantic import Field

from models.techniques.base import Technique, TechniqueCard


class Dropout(Technique):
    """Silence random units in training."""

    strength_parameter = "rate"
    group = "Noise in the network"
    drops_units = True
    families_that_need_hidden_units = ("mlp", "cnn")
    switches = ("input_rate", "rate")

    rate: float = Field(0.5, ge=0, le=0.9, description="Share of hidden units set to zero at each step")
    input_rate: float = Field(0.0, ge=0, le=0.5, description="Share of input pixels set to zero at each step")

    @property
    def is_noop(self) -> bool:
        """Whether no unit is ever silenced."""
        return not (self.rate or self.input_rate)

    about = TechniqueCard(
        title="Dropout",
        formula="h' = m * h / (1 - rate), m ~ Bernoulli(1 - rate) drawn for each example, unit and step",
        in_training="Each hidden unit is set to zero with probability `rate`; the others are scaled up by "
        "1/(1 - rate), so that the expected input of the next layer stays the same (inverted dropout).",
        at_inference="Nothing: every unit is used as it is. Srivastava's original form keeps training "
        "unscaled and multiplies weights by (1 - rate) at inference instead; the expectation is the same.",
        when_to_use="Wide fully connected layers that overfit. It lowers the loss and the gap between "
        "training and test more surely than it raises accuracy.",
        cost="More epochs to converge; almost nothing per step.",
        pitfall="Accuracy printed during training is measured with units dropped, so it is below the "
        "validation accuracy; Regbench measures both without dropout.",
        source="Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, "
        "JMLR 15 (2014)",
    )


class SpatialDropout(Technique):
    """Silence whole feature maps of convolutions in training."""

    strength_parameter = "rate"
    group = "Noise in the network"
    drops_units = True
    model_families = ("cnn",)
    family_advice = "an mlp has no feature maps; choose dropout, or the family cnn"

    rate: float = Field(0.2, ge=0, le=0.9, description="Share of feature maps set to zero at each step")

    about = TechniqueCard(
        title="Spatial dropout",
        formula="h'_c = m_c * h_c / (1 - rate), m_c ~ Bernoulli(1 - rate) drawn for each example, map c "
        "and step",
        in_training="After each convolution's pooling, a feature map is set to zero at all of its positions "
        "or at none; the others are scaled up by 1/(1 - rate).",
        at_inference="Nothing: every map is used as it is.",
        when_to_use="Convolutional networks. Neighbouring positions of a map are highly correlated, so that "
        "dropout of single positions removes little information; dropout of maps does.",
        cost="One random number per map and example: less than dropout.",
        pitfall="With few filters the usual rate of dropout removes most of a layer: begin with 0.1 to 0.2.",
        source="Tompson et al., Efficient Object Localization Using Convolutional Networks, CVPR (2015)",
    )


class GaussianDropout(Technique):
    """Multiply each hidden unit by a random number around one."""

    strength_parameter = "rate"
    group = "Noise in the network"
    drops_units = True
    families_that_need_hidden_units = ("mlp", "cnn")

    rate: float = Field(
        0.5, ge=0, le=0.9, description="Strength: the numbers' standard deviation is sqrt(rate / (1 - rate))"
    )

    about = TechniqueCard(
        title="Gaussian dropout",
        formula="h' = h * n, n ~ Normal(1, rate / (1 - rate)) drawn for each example, unit and step",
        in_training="Each hidden unit is multiplied by a random number with mean 1 and the variance that "
        "dropout of the same rate has; no unit is removed completely.",
        at_inference="Nothing: the expectation is the same by construction.",
        when_to_use="Where dropout helps; it often does as well and its noise is smoother.",
        cost="A few random numbers per unit, somewhat more than dropout.",
        pitfall="A rate of 0.9 is a standard deviation of 3: far more than the signal.",
        source="Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, "
        "JMLR 15 (2014), section 10",
    )


class GaussianNoise(Technique):
    """Add random numbers to the pixels."""

    strength_parameter = "sigma"
    group = "Noise in the network"

    sigma: float = Field(
        0.1, ge=0, le=1, description="Standard deviation, in units of the pixels' range 0 to 1"
    )

    about = TechniqueCard(
        title="Gaussian noise on the inputs",
        formula="x' = x + n, n ~ Normal(0, sigma^2) drawn for each example, pixel and step",
        in_training="Every image gets new noise at each step, so that no exact pixel value can be memorized.",
        at_inference="Nothing: images are used as they are.",
        when_to_use="Small data sets, or when inputs will be noisy in use. For small sigma it acts as a "
        "penalty on the slope of the output with regard to the input.",
        cost="Random numbers for 784 pixels per example.",
        pitfall="Its strength depends on the scale of the inputs; the same sigma "
        "has another effect on other data.",
        source="Bishop, Training with Noise is Equivalent to Tikhonov Regularization, "
        "Neural Computation 7 (1995)",
    )
