"""Each variant against the baseline, in pairs that share a seed. Pure: no database, no HTTP."""

from collections.abc import Mapping, Sequence

from sqlalchemy import inspect

from api.reports.schemas import Contrast, Difference, Differences, Equivalence, Interval, McNemar
from api.reports.verdicts import call, verdict
from models.experiments import FEWEST_PAIRS
from models.statistics import (
    ALPHA,
    PairedDifference,
    apply_holm_correction,
    compute_detectable_difference,
    compute_paired_difference,
    compute_required_pairs,
    compute_two_way_clustered_interval,
    run_mcnemar_test,
    run_two_one_sided_tests,
)
from models.store.tables import Job, Result

MARGIN_POINTS = 0.2
"""A difference in accuracy up to which two variants are as good as equal: 20 images of MNIST's 10,000."""

# Each metric of a contrast: its column, and what turns it into the unit shown (percentage points).
_CONTRASTED = {
    "test_accuracy_points": ("test_accuracy", 100.0),
    "test_loss": ("test_loss", 1.0),
    "generalization_gap_accuracy_points": ("generalization_gap_accuracy", 100.0),
    "generalization_gap_loss": ("generalization_gap_loss", 1.0),
}

Pairs = Mapping[int, tuple[Result, Result]]


def contrasts(variants: Mapping[str, Sequence[Job]], baseline: str) -> list[Contrast]:
    """A contrast for each of the `variants` but the `baseline`, in their order.

    Of each variant at most one job a seed. All that may be called higher or lower, metrics times variants,
    is one family of tests, whether or not its jobs have finished: so that if no technique does anything, a
    report calls anything at all in at most 5 % of cases.
    """
    base = _by_seed(variants[baseline])
    pairs = {name: _pairs(base, _by_seed(jobs)) for name, jobs in variants.items() if name != baseline}
    tests = len(pairs) * len(_CONTRASTED)
    found = {(name, metric): _paired(pairs[name], metric) for name in pairs for metric in _CONTRASTED}
    corrected = dict(
        zip(found, apply_holm_correction([_tested(each) for each in found.values()]), strict=True)
    )
    differences = {
        key: _difference(each, _baseline_mean(pairs[key[0]], key[1]), corrected[key], tests)
        for key, each in found.items()
        if each is not None
    }
    return [
        _contrast(
            name,
            baseline,
            each,
            {metric: differences[name, metric] for metric in _CONTRASTED if each},
            tests=tests,
        )
        for name, each in pairs.items()
    ]


def _contrast(
    variant: str, baseline: str, pairs: Pairs, metrics: Mapping[str, Difference], *, tests: int
) -> Contrast:
    differences = Differences(**metrics) if metrics else None
    equivalence = _equivalence(differences.test_accuracy_points, tests) if differences else None
    answers = _answers(pairs)
    by_seed = [_mcnemar(seed, *each) for seed, each in answers.items()]
    on_new_images = _on_new_images(list(answers.values()))
    return Contrast(
        variant=variant,
        baseline=baseline,
        seeds=list(pairs),
        differences=differences,
        equivalence=equivalence,
        accuracy_on_new_images=on_new_images,
        mcnemar=by_seed,
        verdict=verdict(differences, equivalence, on_new_images, by_seed, tests=tests),
    )


def _by_seed(jobs: Sequence[Job]) -> dict[int, Result]:
    return {job.seed: job.result for job in jobs if job.result is not None}


def _pairs(baseline: Mapping[int, Result], variant: Mapping[int, Result]) -> Pairs:
    """By seed, never by position: a missing job must not shift the others' partners."""
    return {seed: (baseline[seed], variant[seed]) for seed in sorted(baseline.keys() & variant.keys())}


def _paired(pairs: Pairs, metric: str) -> PairedDifference | None:
    column, unit = _CONTRASTED[metric]
    return compute_paired_difference(
        [unit * getattr(baseline, column) for baseline, _ in pairs.values()],
        [unit * getattr(variant, column) for _, variant in pairs.values()],
    )


def _baseline_mean(pairs: Pairs, metric: str) -> float:
    column, unit = _CONTRASTED[metric]
    return sum(unit * float(getattr(baseline, column)) for baseline, _ in pairs.values()) / len(pairs)


def _tested(found: PairedDifference | None) -> float:
    """The p that enters the correction: 1 for what cannot be called."""
    if found is None or found.t_p is None or found.n < FEWEST_PAIRS:
        return 1.0
    return found.t_p


def _difference(found: PairedDifference, baseline: float, corrected: float, tests: int) -> Difference:
    enough = found.n >= FEWEST_PAIRS
    detectable = None
    if enough and found.sd:
        detectable = compute_detectable_difference(found.sd, found.n, level=ALPHA / tests)
    t_p_holm = corrected if enough and found.t_p is not None else None
    return Difference(
        n=found.n,
        mean=found.mean,
        sd=found.sd,
        low=found.low,
        high=found.high,
        t_p=found.t_p,
        t_p_holm=t_p_holm,
        sign_flip_p=found.sign_flip_p,
        d=found.d,
        superiority=found.superiority,
        detectable=detectable,
        relative=found.mean / baseline if baseline > 0 and baseline + found.mean > 0 else None,
        call=call(found.mean, t_p_holm, found.sign_flip_p),
    )


def _equivalence(accuracy: Difference, tests: int) -> Equivalence | None:
    if accuracy.sd is None:
        return None
    found = run_two_one_sided_tests(accuracy.mean, accuracy.sd, accuracy.n, margin=MARGIN_POINTS)
    needed = max(FEWEST_PAIRS, compute_required_pairs(MARGIN_POINTS, accuracy.sd, level=ALPHA / tests))
    return Equivalence(
        margin_points=MARGIN_POINTS,
        low=found.low,
        high=found.high,
        p=found.p,
        equivalent=found.p < ALPHA and accuracy.n >= FEWEST_PAIRS,
        more_seeds=max(0, needed - accuracy.n),
    )


def _answers(pairs: Pairs) -> dict[int, tuple[bytes, bytes]]:
    """By seed which test images either model recognizes, where both are known and are the same images."""
    answers = {}
    for seed, (baseline, variant) in pairs.items():
        first, second = _get_correct(baseline), _get_correct(variant)
        # As many images of another dataset are no pairs.
        same = baseline.dataset_sha256 == variant.dataset_sha256
        if first is not None and second is not None and same and len(first) == len(second):
            answers[seed] = first, second
    return answers


def _mcnemar(seed: int, baseline: bytes, variant: bytes) -> McNemar:
    found = run_mcnemar_test(baseline, variant)
    return McNemar(seed=seed, only_baseline=found.only_baseline, only_variant=found.only_variant, p=found.p)


def _on_new_images(answers: Sequence[tuple[bytes, bytes]]) -> Interval | None:
    if len(answers) < 2 or len({len(each) for each, _ in answers}) > 1:
        return None
    found = compute_two_way_clustered_interval([each for each, _ in answers], [each for _, each in answers])
    return Interval(low=100 * found.low, high=100 * found.high)


def _get_correct(result: Result) -> bytes | None:
    # Where the caller did not load the column, touching it would cost a query a row.
    return None if "test_correct" in inspect(result).unloaded else result.test_correct
