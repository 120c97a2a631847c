"""Learning curves over seeds: mean and band, at a bounded number of points."""

from collections.abc import Mapping, Sequence

from api.reports.comparison import Summaries
from api.reports.schemas import BandPoint, Curves, VariantCurves
from models.store.report_data import EpochSummary, Spread


def curves(experiment_id: str, summaries: Summaries, *, max_points: int) -> Curves:
    """The curves of each variant over the jobs that `summaries` are of."""
    return Curves(
        experiment_id=experiment_id,
        max_points=max_points,
        items=[_variant(name, epochs, max_points) for name, epochs in summaries.items()],
    )


def _variant(name: str, epochs: Sequence[EpochSummary], max_points: int) -> VariantCurves:
    return VariantCurves(
        variant=name,
        train_loss=_band({each.epoch: each.train_loss for each in epochs}, max_points),
        validation_loss=_band({each.epoch: each.validation_loss for each in epochs}, max_points),
        train_accuracy=_band({each.epoch: each.train_accuracy for each in epochs}, max_points),
        validation_accuracy=_band({each.epoch: each.validation_accuracy for each in epochs}, max_points),
    )


def _band(spreads: Mapping[int, Spread | None], max_points: int) -> list[BandPoint]:
    known = {epoch: spread for epoch, spread in spreads.items() if spread is not None}
    return [_point(epoch, known[epoch]) for epoch in thinned(list(known), max_points)]


def thinned(epochs: Sequence[int], most: int) -> list[int]:
    """At most `most` (two or more) of `epochs`, evenly spread, the first and the last among them."""
    if len(epochs) <= most:
        return list(epochs)
    step = (len(epochs) - 1) / (most - 1)
    return [epochs[round(number * step)] for number in range(most)]


def _point(epoch: int, found: Spread) -> BandPoint:
    low, high = (None, None) if found.sd is None else (found.mean - found.sd, found.mean + found.sd)
    return BandPoint(epoch=epoch, n=found.n, mean=found.mean, low=low, high=high)
