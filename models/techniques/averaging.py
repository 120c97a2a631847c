"""Techniques that keep an average of the weights instead of the last ones."""

from pydantic import Field

from models.techniques.base import Technique, TechniqueCard


class ExponentialMovingAverage(Technique):
    """Keep a running average of the weights over the last steps."""

    strength_parameter = "decay"
    group = "Averages of the weights"

    decay: float = Field(
        0.999, ge=0, le=0.9999, description="Share of the old average kept at each step, after the warm-up"
    )

    about = TechniqueCard(
        title="Exponential moving average of the weights",
        formula="after step t: avg <- d * avg + (1 - d) * w, d = min(decay, (1 + t) / (10 + t))",
        in_training="Nothing: the weights are trained as without it. An average of them is kept in addition, "
        "whose decay begins small, so that the random start has little influence.",
        at_inference="The averaged weights are used; epochs are also evaluated with them.",
        when_to_use="Nearly always: it removes the noise of the last steps, as a "
        "decaying learning rate does, "
        "but without a schedule.",
        cost="One pass over the weights per step, and a second copy of them.",
        pitfall="The average reaches back about 1/(1 - decay) steps: with fewer steps in total it lags "
        "behind the weights and performs worse.",
        source="Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, SIAM Journal on "
        "Control and Optimization 30 (1992); the decay grows as in TensorFlow's ExponentialMovingAverage",
    )


class StochasticWeightAveraging(Technique):
    """Keep the plain mean of the weights at the ends of the later epochs."""

    group = "Averages of the weights"

    start: float = Field(
        0.5, ge=0, le=0.99, description="Share of the epochs that pass before averaging begins"
    )

    about = TechniqueCard(
        title="Stochastic weight averaging",
        formula="w_swa = mean of the weights at the ends of all epochs t > start * epochs",
        in_training="Nothing: the weights are trained as without it, and those "
        "at the end of each later epoch "
        "enter the mean.",
        at_inference="The averaged weights are used; from the first averaged epoch on, epochs are also "
        "evaluated with them.",
        when_to_use="With a constant, rather high learning rate, whose epochs end at different points around "
        "a wide minimum: their mean is closer to its centre.",
        cost="One pass over the weights per epoch, and a second copy of them.",
        pitfall="Epochs from early in the training degrade the mean: begin late enough. Not "
        "with batch normalization, whose statistics would have to be recomputed for the mean.",
        source="Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, "
        "UAI (2018)",
    )
