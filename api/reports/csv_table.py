"""The report as CSV: one row a job, for spreadsheets and data frames."""

import csv
import io
import re

from api.jobs.schemas import Engine, Result
from api.reports.schemas import Comparison

_RESULT = [name for name in Result.model_fields if name != "engine"]
_ENGINE = list(Engine.model_fields)


def render(comparison: Comparison) -> str:
    """All jobs, finished or not; what is unknown is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ["variant", "is_baseline", "seed", "job_id", "reused", "state", *_RESULT, *_ENGINE], restval=""
    )
    writer.writeheader()
    for variant in comparison.variants:
        for seed in variant.seeds:
            result = seed.result.model_dump()
            engine = result.pop("engine")
            writer.writerow(
                {
                    "variant": _escape_formula(variant.name),
                    "is_baseline": variant.is_baseline,
                    "seed": seed.seed,
                    "job_id": seed.job_id,
                    "reused": seed.reused,
                    "state": "succeeded",
                    **result,
                    **engine,
                }
            )
    for missing in comparison.missing:
        writer.writerow(
            {
                "variant": _escape_formula(missing.variant),
                "is_baseline": missing.variant == comparison.baseline,
                "seed": missing.seed,
                "job_id": missing.job_id,
                "state": missing.state,
            }
        )
    return text.getvalue()


def _escape_formula(name: str) -> str:
    # A spreadsheet would run what begins like a formula (OWASP, CSV Injection), also after white space or in
    # full-width characters; names come from users.
    dangerous = re.match(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]", name)
    return f"'{name}" if dangerous else name
