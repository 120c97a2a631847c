"""Reports as the service returns them."""

from typing import TYPE_CHECKING, Any

from regbench.base import Resource
from regbench.errors import ClientError

if TYPE_CHECKING:
    import pandas


class SeedResult(Resource):
    """One finished job of a variant; `result` has all that was measured."""

    seed: int
    job_id: str
    reused: bool = False
    result: dict[str, Any]


class VariantReport(Resource):
    """One variant: `n` seeds have finished; `metrics` has means and intervals, null while n is 0."""

    name: str
    is_baseline: bool
    n: int
    seeds: list[SeedResult]
    metrics: dict[str, Any] | None


class Contrast(Resource):
    """One variant against the baseline, and the verdict that the numbers allow."""

    variant: str
    baseline: str
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
        """One for each finished job: variant, seed, job_id, and all that was measured."""
        return [
            {
                "variant": variant.name,
                "is_baseline": variant.is_baseline,
                **seed.model_dump(include={"seed", "job_id", "reused"}),
                **{name: value for name, value in seed.result.items() if name != "engine"},
            }
            for variant in self.variants
            for seed in variant.seeds
        ]

    def to_pandas(self) -> "pandas.DataFrame":
        """`rows()` as a data frame.

        Raises:
            ClientError: pandas is not installed.
        """
        try:
            import pandas  # noqa: PLC0415 (many use the client without it)
        except ImportError:
            raise ClientError(
                "A data frame needs pandas, which is not installed.",
                "Install it with `pip install pandas`, or use report.rows().",
            ) from None
        return pandas.DataFrame(self.rows())
