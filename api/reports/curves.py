"""Learning curves over seeds: mean and band, at a bounded number of points."""

from collections.abc import Mapping, Sequence
from typing import cast

from api.reports.comparison import History
from api.reports.schemas import BandPoint, Curves, VariantCurves
from models.statistics import estimate
from models.tables import Epoch, Job


def curves(
    experiment_id: str, variants: Mapping[str, Sequence[Job]], histories: History, *, max_points: int
) -> Curves:
    """The curves of each variant over all of its jobs, unfinished ones included."""
    return Curves(
        experiment_id=experiment_id,
        max_points=max_points,
        items=[
            _variant(name, [histories[job.id] for job in jobs], max_points) for name, jobs in variants.items()
        ],
    )


def _variant(name: str, histories: Sequence[Sequence[Epoch]], max_points: int) -> VariantCurves:
    return VariantCurves(
        variant=name,
        train_loss=_band(histories, "train_loss", max_points),
        validation_loss=_band(histories, "validation_loss", max_points),
        train_accuracy=_band(histories, "train_accuracy", max_points),
        validation_accuracy=_band(histories, "validation_accuracy", max_points),
    )


def _band(histories: Sequence[Sequence[Epoch]], column: str, max_points: int) -> list[BandPoint]:
    by_epoch: dict[int, list[float]] = {}
    for history in histories:
        for row in history:
            value = cast("float | None", getattr(row, column))
            if value is not None:
                by_epoch.setdefault(row.epoch, []).append(value)
    return [_point(epoch, by_epoch[epoch]) for epoch in thinned(sorted(by_epoch), max_points)]


def thinned(epochs: Sequence[int], most: int) -> list[int]:
    """At most `most` (two or more) of `epochs`, evenly spread, the first and the last among them."""
    if len(epochs) <= most:
        return list(epochs)
    step = (len(epochs) - 1) / (most - 1)
    return [epochs[round(number * step)] for number in range(most)]


def _point(epoch: int, values: Sequence[float]) -> BandPoint:
    found = estimate(values)
    assert found is not None  # noqa: S101 (an epoch is here because it has values)
    low, high = (None, None) if found.sd is None else (found.mean - found.sd, found.mean + found.sd)
    return BandPoint(epoch=epoch, n=found.n, mean=found.mean, low=low, high=high)
