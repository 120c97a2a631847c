"""Each variant against the baseline, in pairs that share a seed. Pure: no database, no HTTP."""

from collections.abc import Mapping, Sequence

from api.reports.schemas import Contrast, Difference, Differences
from api.reports.verdicts import verdict
from models.statistics import PairedDifference, holm, paired_difference
from models.tables import Job, Result

# Each measure of a contrast: its column, and what turns it into the unit shown (percentage points).
_CONTRASTED = {
    "test_accuracy_points": ("test_accuracy", 100.0),
    "test_loss": ("test_loss", 1.0),
    "generalization_gap_accuracy_points": ("generalization_gap_accuracy", 100.0),
    "generalization_gap_loss": ("generalization_gap_loss", 1.0),
}


def contrasts(variants: Mapping[str, Sequence[Job]], baseline: str) -> list[Contrast]:
    others = {name: jobs for name, jobs in variants.items() if name != baseline}
    base = _by_seed(variants[baseline])
    pairs = {name: _pairs(base, _by_seed(jobs)) for name, jobs in others.items()}
    differences = _differences(pairs)
    return [
        Contrast(
            variant=name,
            baseline=baseline,
            seeds=sorted(pairs[name]),
            differences=differences[name],
            verdict=verdict(differences[name], comparisons=len(others)),
        )
        for name in others
    ]


def _by_seed(jobs: Sequence[Job]) -> dict[int, Result]:
    return {job.seed: job.result for job in jobs if job.result is not None}


def _pairs(baseline: dict[int, Result], variant: dict[int, Result]) -> dict[int, tuple[Result, Result]]:
    """By seed, never by position: a missing job must not shift the others' partners."""
    return {seed: (baseline[seed], variant[seed]) for seed in sorted(baseline.keys() & variant.keys())}


def _differences(pairs: Mapping[str, dict[int, tuple[Result, Result]]]) -> dict[str, Differences | None]:
    """For each variant the differences of every measure, p corrected over the variants."""
    found: dict[str, dict[str, Difference]] = {name: {} for name in pairs}
    for measure, (column, unit) in _CONTRASTED.items():
        raw = {name: _paired(each, column, unit) for name, each in pairs.items()}
        tested = {name: each.t_p for name, each in raw.items() if each is not None and each.t_p is not None}
        corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
        for name, difference in raw.items():
            if difference is not None:
                found[name][measure] = _difference(difference, corrected.get(name))
    return {name: Differences(**each) if each else None for name, each in found.items()}


def _paired(pairs: Mapping[int, tuple[Result, Result]], column: str, unit: float) -> PairedDifference | None:
    return paired_difference(
        [unit * getattr(baseline, column) for baseline, _ in pairs.values()],
        [unit * getattr(variant, column) for _, variant in pairs.values()],
    )


def _difference(found: PairedDifference, corrected: float | None) -> Difference:
    return Difference(
        n=found.n,
        mean=found.mean,
        sd=found.sd,
        low=found.low,
        high=found.high,
        t_p=found.t_p,
        t_p_holm=corrected,
        sign_flip_p=found.sign_flip_p,
        d=found.d,
    )
