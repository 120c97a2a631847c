"""Techniques that train on other images than the ones that are there."""

from pydantic import Field

from models.techniques.base import Technique, TechniqueCard


class Augmentation(Technique):
    """Move and bend each image differently at each step."""

    group = "The images"
    switches = ("elastic",)

    shift: float = Field(2.0, ge=0, le=4, description="Largest shift along each side, in pixels")
    rotation: float = Field(10.0, ge=0, le=20, description="Largest rotation, in degrees")
    zoom: float = Field(
        0.0, ge=0, le=0.3, description="Largest change of scale: drawn from 1 - zoom to 1 + zoom"
    )
    elastic: float = Field(
        0.0, ge=0, le=50, description="Alpha of the elastic distortion, in pixels; smoothed with sigma 4"
    )

    @property
    def is_noop(self) -> bool:
        """Whether images stay as they are."""
        return not (self.shift or self.rotation or self.zoom or self.elastic)

    about = TechniqueCard(
        title="Augmentation",
        formula="x'(q) = x(R(angle) (q - c) / scale + c - shift + alpha * (G_sigma * u)(q)), c the centre, "
        "each amount uniform within its bounds and drawn for each example and step",
        in_training="Every image is shifted, rotated, zoomed and bent a little, with bilinear interpolation; "
        "what comes in from outside is black. The label stays.",
        at_inference="Nothing: images are used as they are.",
        when_to_use="Whenever it is known what leaves the label unchanged. In the literature on MNIST it "
        "lowers the test error more than penalties do.",
        cost="Four look-ups a pixel and step; elastic distortion adds two random numbers a pixel and their "
        "smoothing. More epochs to converge.",
        pitfall="What changes the sign is no augmentation: flips are not offered, because a mirrored digit "
        "is another sign, and rotations end well before a 6 becomes a 9.",
        source="Simard, Steinkraus and Platt, Best Practices for Convolutional Neural Networks Applied to "
        "Visual Document Analysis, ICDAR (2003)",
    )


class Mixup(Technique):
    """Train on mixtures of two images and of their labels."""

    strength_parameter = "alpha"
    group = "The images"

    alpha: float = Field(
        0.2, ge=0, le=2, description="Of the Beta distribution: near 0 hardly any mixing, 1 uniform"
    )

    about = TechniqueCard(
        title="Mixup",
        formula="x' = s x_i + (1 - s) x_j, t' = s t_i + (1 - s) t_j, s ~ Beta(alpha, alpha) one per step",
        in_training="Each example is mixed with its neighbour in the randomly ordered batch, and so are "
        "their targets; between two examples the answer is to go over evenly.",
        at_inference="Nothing: images are used as they are.",
        when_to_use="Few examples, wrong labels, or overconfident answers.",
        cost="One pass over the batch's images a step. More epochs to converge.",
        pitfall="Accuracy printed during training is against the larger part's label of mixed images, so it "
        "stands far below the validation accuracy. Mixed with a strong augmentation it underfits.",
        source="Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR (2018)",
    )
