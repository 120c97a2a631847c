"""The report as CSV: one row a job, for spreadsheets and data frames."""

import csv
import io
import re

from api.jobs.schemas import Engine, Result
from api.reports.points import remove_point
from api.reports.schemas import Comparison

_RESULT = [name for name in Result.model_fields if name != "engine"]
_ENGINE = list(Engine.model_fields)


def render(comparison: Comparison) -> str:
    """All jobs, finished or not; what is unknown is empty."""
    text = io.StringIO()
    # With axes the variant's plain name, and a column for each axis.
    axes = [axis.field for axis in comparison.axes]
    parts = ["part"] if comparison.bias_variance else []
    run = ["variant", *axes, "is_baseline", "seed", *parts, "job_id", "reused", "state"]
    fields = [*run, *_RESULT, *_ENGINE]
    writer = csv.DictWriter(text, fields, restval="")
    points = {variant.name: variant.point or {} for variant in comparison.variants}
    writer.writeheader()
    for variant in comparison.variants:
        for seed in variant.seeds:
            result = seed.result.model_dump()
            engine = result.pop("engine")
            writer.writerow(
                {
                    "variant": escape_formula(remove_point(variant.name, variant.point)),
                    **points[variant.name],
                    "is_baseline": variant.is_baseline,
                    "seed": seed.seed,
                    **dict.fromkeys(parts, seed.part),
                    "job_id": seed.job_id,
                    "reused": seed.reused,
                    "state": "succeeded",
                    **result,
                    **engine,
                }
            )
    for missing in comparison.missing:
        point = points.get(missing.variant, {})
        name = remove_point(missing.variant, point)
        writer.writerow(
            {
                "variant": escape_formula(name),
                **point,
                "is_baseline": name == comparison.baseline,
                "seed": missing.seed,
                "job_id": missing.job_id,
                "state": missing.state,
            }
        )
    return text.getvalue()


def escape_formula(name: str) -> str:
    # A spreadsheet would run what begins like a formula (OWASP, CSV Injection), also after white space or in
    # full-width characters; names come from users.
    dangerous = re.match(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]", name)
    return f"'{name}" if dangerous else name
