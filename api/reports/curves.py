"""Learning curves over seeds: mean and band, at a bounded number of points."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from api.http.schemas import ResponseModel
from models.store.report_data import EpochSummary, Spread

if TYPE_CHECKING:
    # It imports NumPy, and these schemas are needed when the API starts.
    from api.reports.comparison import Summaries


class BandPoint(ResponseModel):
    """One epoch of a curve: mean over seeds, and one standard deviation to each side (null with one seed)."""

    epoch: int
    n: int
    mean: float
    low: float | None
    high: float | None


class VariantCurves(ResponseModel):
    """The learning curves of one variant."""

    variant: str
    train_loss: list[BandPoint]
    validation_loss: list[BandPoint]
    train_accuracy: list[BandPoint]
    validation_accuracy: list[BandPoint]


class Curves(ResponseModel):
    """Learning curves of an experiment, at most `max_points` a curve, the first and last epoch among them."""

    experiment_id: str
    max_points: int
    items: list[VariantCurves]


def build_curves(experiment_id: str, summaries: "Summaries", *, max_points: int) -> Curves:
    """The curves of each variant over the jobs that `summaries` are of."""
    return Curves(
        experiment_id=experiment_id,
        max_points=max_points,
        items=[_build_variant(name, epochs, max_points) for name, epochs in summaries.items()],
    )


def _build_variant(name: str, epochs: Sequence[EpochSummary], max_points: int) -> VariantCurves:
    bands = {}
    for metric in VariantCurves.model_fields.keys() - {"variant"}:
        spreads: dict[int, Spread | None] = {epoch.epoch: getattr(epoch, metric) for epoch in epochs}
        measured = {epoch: spread for epoch, spread in spreads.items() if spread is not None}
        band = []
        for epoch in downsample(list(measured), max_points):
            n, mean, sd = measured[epoch].n, measured[epoch].mean, measured[epoch].sd
            low, high = (None, None) if sd is None else (mean - sd, mean + sd)
            band.append(BandPoint(epoch=epoch, n=n, mean=mean, low=low, high=high))
        bands[metric] = band
    return VariantCurves(variant=name, **bands)


def downsample(epochs: Sequence[int], most: int) -> list[int]:
    """At most `most` (two or more) of `epochs`, evenly spread, the first and the last among them."""
    if len(epochs) <= most:
        return list(epochs)
    step = (len(epochs) - 1) / (most - 1)
    return [epochs[round(index * step)] for index in range(most)]
