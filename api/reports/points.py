"""Names of variants at the points of axes. Pure."""

from typing import Any

from api.reports.schemas import Comparison
from models.run_key import describe_point


def remove_point(name: str, point: dict[str, Any] | None) -> str:
    """A variant's plain name, of its name at a point."""
    return name.removesuffix(f", {describe_point(point)}") if point else name


def remove_points_from_names(comparison: Comparison) -> Comparison:
    """The same with variants' plain names, for programs, which tell them apart by `point`."""
    variants = [
        item.model_copy(update={"name": remove_point(item.name, item.point)}) for item in comparison.variants
    ]
    contrasts = [
        item.model_copy(
            update={
                "variant": remove_point(item.variant, item.point),
                "baseline": remove_point(item.baseline, item.point),
            }
        )
        for item in comparison.contrasts
    ]
    return comparison.model_copy(update={"variants": variants, "contrasts": contrasts})
