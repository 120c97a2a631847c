"""Reports as the service returns them."""

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regbench.base import Resource, render_html_table
from regbench.errors import ClientError

if TYPE_CHECKING:
    import pandas


class Chart:
    """One of the service's charts as SVG, which a notebook shows."""

    def __init__(self, svg: str) -> None:
        self.svg = svg

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> None:
        """Write it to a file."""
        Path(path).write_text(self.svg, encoding="utf-8")


class SeedResult(Resource):
    """One finished job of a variant; `result` has all that was measured."""

    seed: int
    job_id: str
    reused: bool = False
    result: dict[str, Any]


class VariantReport(Resource):
    """One variant, with axes at one point: `n` seeds have finished; `metrics` has means and intervals, null
    while n is 0."""

    name: str
    point: dict[str, Any] | None = None
    is_baseline: bool
    n: int
    seeds: list[SeedResult]
    metrics: dict[str, Any] | None


class Contrast(Resource):
    """One variant against the baseline, with axes at one point, and the verdict that the numbers allow."""

    variant: str
    baseline: str
    point: dict[str, Any] | None = None
    differences: dict[str, Any] | None
    verdict: str


class Report(Resource):
    """A comparison; losses in nats, accuracies as fractions, differences of accuracy in points."""

    title: str
    experiment_id: str | None
    complete: bool
    jobs: int
    finished: int
    headline: str
    baseline: str
    seeds: list[int]
    variants: list[VariantReport]
    contrasts: list[Contrast]

    def rows(self) -> list[dict[str, Any]]:
        """One for each finished job: variant, the value of each axis, seed, job_id, and all measurements."""
        return [
            {
                "variant": variant.name,
                **_get_coordinates(variant.point),
                "is_baseline": variant.is_baseline,
                **seed.model_dump(include={"seed", "job_id", "reused"}),
                **{name: value for name, value in seed.result.items() if name != "engine"},
            }
            for variant in self.variants
            for seed in variant.seeds
        ]

    def plot(self, name: str = "differences") -> Chart:
        """A chart of the service, such as `learning-curves`, `cost` or `reliability`, for a notebook.

        Raises:
            ClientError: this is a report of jobs, which has no charts, or was not returned by a `Regbench`.
        """
        if self.experiment_id is None or self._origin is None:
            raise ClientError("Only the report of an experiment, as a `Regbench` returned it, has charts.")
        return Chart(self._origin.chart(self.experiment_id, name, "svg").decode())

    def table(self) -> "pandas.DataFrame":
        """A row for each variant: its finished seeds, and of each metric mean, low and high (95 %).

        With axes a row for each variant and point; the index has a level for each axis, named by its field.

        Raises:
            ClientError: pandas is not installed.
        """
        rows = []
        for variant in self.variants:
            row: dict[str, Any] = {"variant": variant.name, **_get_coordinates(variant.point)}
            row["seeds"] = variant.n
            for name, summary in (variant.metrics or {}).items():
                if summary is not None:
                    row[name] = summary["mean"]
                    row |= {f"{name}_{end}": summary[end] for end in ("low", "high")}
            rows.append(row)
        fields = [*(self.variants[0].point or ())] if self.variants else []
        return _import_pandas().DataFrame(rows).set_index(["variant", *fields] if fields else "variant")

    def _repr_html_(self) -> str:
        rows = [
            [
                variant.name,
                *_get_coordinates(variant.point).values(),
                variant.n,
                *(_format_mean(variant.metrics, name) for name in _SHOWN),
            ]
            for variant in self.variants
        ]
        fields = [*(self.variants[0].point or ())] if self.variants else []
        verdicts = "".join(
            f"<li><b>{escape(item.variant)}</b>{escape(_describe(item.point))}: {escape(item.verdict)}</li>"
            for item in self.contrasts
        )
        return (
            f"<h4>{escape(self.title)}</h4><p>{escape(self.headline)}</p>"
            f"{render_html_table(['variant', *fields, 'seeds', *_SHOWN.values()], rows)}<ul>{verdicts}</ul>"
        )

    def to_pandas(self) -> "pandas.DataFrame":
        """`rows()` as a data frame.

        Raises:
            ClientError: pandas is not installed.
        """
        return _import_pandas().DataFrame(self.rows())


def _get_coordinates(point: dict[str, Any] | None) -> dict[str, Any]:
    """The value of each axis by its field; lists, such as layers, as text: an index cannot have them."""
    return {
        field: json.dumps(value) if isinstance(value, list | dict) else value
        for field, value in (point or {}).items()
    }


def _describe(point: dict[str, Any] | None) -> str:
    return "".join(f", {field} {value}" for field, value in _get_coordinates(point).items())


_SHOWN = {"test_accuracy": "test accuracy", "test_loss": "test loss"}


def _format_mean(metrics: dict[str, Any] | None, name: str) -> str:
    summary = (metrics or {}).get(name)
    if summary is None:
        return "-"
    low, high = summary.get("low"), summary.get("high")
    return f"{summary['mean']:.4f}" + ("" if low is None or high is None else f" ({low:.4f} to {high:.4f})")


def _import_pandas() -> Any:
    try:
        import pandas  # noqa: PLC0415 (many use the client without it)
    except ImportError:
        raise ClientError(
            "A data frame needs pandas, which is not installed.",
            "Install it with `pip install pandas`, or use report.rows().",
        ) from None
    return pandas


class Trial(Resource):
    """A setting that tuning has tried; `validation_loss` (nats) has `mean`, `sd` and `values`."""

    variant: str
    trial: int
    parameters: dict[str, Any]
    seeds: list[int]
    rung: int | None
    epochs: int
    validation_loss: dict[str, Any]
    state: str
    chosen: bool


class BiasVariance(Resource):
    """Bias and variance of each variant over training sets; `reason` where `items` is None."""

    items: list[dict[str, Any]] | None
    differences: list[dict[str, Any]]
    trends: list[dict[str, Any]]
    answers: list[str]
    reason: str | None
    intervals: str | None
    headline: str | None


class Recommendation(Resource):
    """What a service's own experiments say for a task; where they abstain, one that would answer."""

    answers: list[dict[str, Any]]
    nearest: dict[str, Any] | None
    abstains: bool
    experiment: dict[str, Any] | None


class FrozenReport(Resource):
    """A report as it was at one moment; `digest` names it."""

    digest: str
    experiment_id: str
    title: str
    headline: str
    complete: bool
    created_at: str
    citation: str
    links: dict[str, str]


class VariantMistakes(Resource):
    """What a variant gets right and the baseline not; an image has `index`, `label`, `answer`, `picture`."""

    variant: str
    baseline: str
    seeds: int
    only_variant: int
    only_baseline: int
    images: list[dict[str, Any]]


class MemorizationMap(Resource):
    """How much a variant's models memorize training images; an image has `index`, `label`, `estimate`,
    `memorized`, `picture` and more.

    What is None has no map, and `reason` says why.
    """

    name: str
    variant: str
    point: dict[str, Any] | None
    models: int
    counted: int
    mean: dict[str, Any] | None
    difference: dict[str, Any] | None
    memorized: int | None
    large_share: float | None
    large_share_by_chance: float | None
    histogram: list[dict[str, Any]]
    images: list[dict[str, Any]]
    text: str | None
    reason: str | None


class Memorization(Resource):
    """The maps of an experiment's variants, at each point of its axes; `reason`: why there is none at all."""

    baseline: str
    fewest_models: int
    large: float
    items: list[MemorizationMap]
    reason: str | None
