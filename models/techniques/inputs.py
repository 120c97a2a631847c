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
        in_training="Every image is slightly shifted, rotated, zoomed and distorted, with bilinear "
        "interpolation; pixels from outside are black. The label does not change.",
        at_inference="Nothing: images are used as they are.",
        when_to_use="If it is known which changes preserve the label. In the literature on MNIST it "
        "lowers the test error more than penalties do.",
        cost="Four look-ups per pixel and step; elastic distortion adds two random numbers per pixel "
        "and their smoothing. More epochs to converge.",
        pitfall="Changes that alter the digit are not augmentation: flips are not offered, because a "
        "mirrored digit is another symbol, and rotations are limited well before a 6 becomes a 9.",
        source="Simard, Steinkraus and Platt, Best Practices for Convolutional Neural Networks Applied to "
        "Visual Document Analysis, ICDAR (2003)",
    )


class Mixup(Technique):
    """Train on mixtures of two images and of their labels."""

    strength_parameter = "alpha"
    group = "The images"

    alpha: float = Field(
        0.2, ge=0, le=2, description="Parameter of the Beta distribution: near 0 hardly any mixing, 1 uniform"
    )

    about = TechniqueCard(
        title="Mixup",
        formula="x' = s x_i + (1 - s) x_j, t' = s t_i + (1 - s) t_j, s ~ Beta(alpha, alpha) one per step",
        in_training="Each example is mixed with its neighbour in the randomly ordered batch, and so are "
        "their targets; so the output should change linearly between two examples.",
        at_inference="Nothing: images are used as they are.",
        when_to_use="Few examples, wrong labels, or overconfident answers.",
        cost="One pass over the batch's images per step. More epochs to converge.",
        pitfall="Accuracy printed during training is against the larger part's label of mixed images, so "
        "it is far below the validation accuracy. Combined with strong augmentation it underfits.",
        source="Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR (2018)",
    )
