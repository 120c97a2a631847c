"""Learning curves over seeds: mean and band, at a bounded number of points."""

from collections.abc import Mapping, Sequence

from api.reports.comparison import Summaries
from api.reports.schemas import BandPoint, Curves, VariantCurves
from models.store.report_data import EpochSummary, Spread


def build_curves(experiment_id: str, summaries: Summaries, *, max_points: int) -> Curves:
    """The curves of each variant over the jobs that `summaries` are of."""
    return Curves(
        experiment_id=experiment_id,
        max_points=max_points,
        items=[_build_variant(name, epochs, max_points) for name, epochs in summaries.items()],
    )


def _build_variant(name: str, epochs: Sequence[EpochSummary], max_points: int) -> VariantCurves:
    return VariantCurves(
        variant=name,
        train_loss=_build_band({epoch.epoch: epoch.train_loss for epoch in epochs}, max_points),
        validation_loss=_build_band({epoch.epoch: epoch.validation_loss for epoch in epochs}, max_points),
        train_accuracy=_build_band({epoch.epoch: epoch.train_accuracy for epoch in epochs}, max_points),
        validation_accuracy=_build_band(
            {epoch.epoch: epoch.validation_accuracy for epoch in epochs}, max_points
        ),
    )


def _build_band(spreads: Mapping[int, Spread | None], max_points: int) -> list[BandPoint]:
    results = {epoch: spread for epoch, spread in spreads.items() if spread is not None}
    return [_build_point(epoch, results[epoch]) for epoch in downsample(list(results), max_points)]


def downsample(epochs: Sequence[int], most: int) -> list[int]:
    """At most `most` (two or more) of `epochs`, evenly spread, the first and the last among them."""
    if len(epochs) <= most:
        return list(epochs)
    step = (len(epochs) - 1) / (most - 1)
    return [epochs[round(index * step)] for index in range(most)]


def _build_point(epoch: int, spread: Spread) -> BandPoint:
    low, high = (None, None) if spread.sd is None else (spread.mean - spread.sd, spread.mean + spread.sd)
    return BandPoint(epoch=epoch, n=spread.n, mean=spread.mean, low=low, high=high)
