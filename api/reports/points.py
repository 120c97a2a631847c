"""Names of variants at the points of axes. Pure."""

from typing import Any

from api.reports.schemas import Comparison
from models.run_key import NO_PART, format_place, format_point


def remove_points_from_names(comparison: Comparison) -> Comparison:
    """The same with variants' plain names, for programs, which tell them apart by `point`."""

    def simplify(name: str, point: dict[str, Any] | None) -> str:
        place = format_place(format_point(point), NO_PART) if point else []
        return name.removesuffix("".join(f", {text}" for text in place))

    variants = [
        item.model_copy(update={"name": simplify(item.name, item.point)}) for item in comparison.variants
    ]
    contrasts = [
        item.model_copy(
            update={
                "variant": simplify(item.variant, item.point),
                "baseline": simplify(item.baseline, item.point),
            }
        )
        for item in comparison.contrasts
    ]
    baseline = simplify(comparison.baseline, comparison.variants[0].point)
    return comparison.model_copy(update={"variants": variants, "contrasts": contrasts, "baseline": baseline})
