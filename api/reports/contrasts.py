"""Each variant against the baseline, in pairs that share a seed. Pure: no database, no HTTP."""

from collections.abc import Mapping, Sequence

from sqlalchemy import inspect

from api.reports.schemas import Contrast, Difference, Differences, Equivalence, Interval, McNemar
from api.reports.verdicts import build_verdict, choose_call
from models.experiments import FEWEST_PAIRS
from models.metrics import TESTED, Metric
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

Pairs = Mapping[int, tuple[Result, Result]]


def build_contrasts(variants: Mapping[str, Sequence[Job]], baseline: str) -> list[Contrast]:
    """A contrast for each of the `variants` but the `baseline`, in their order.

    Of each variant at most one job a seed. All that may be called higher or lower, metrics times variants,
    is one family of tests, whether or not its jobs have finished: so that if no technique does anything, a
    report calls anything at all in at most 5 % of cases.
    """
    base = _group_by_seed(variants[baseline])
    # By seed, never by position: a missing job must not shift the others' partners.
    pairs: dict[str, Pairs] = {}
    for name, jobs in variants.items():
        if name != baseline:
            by_seed = _group_by_seed(jobs)
            pairs[name] = {seed: (base[seed], by_seed[seed]) for seed in sorted(base.keys() & by_seed.keys())}
    values = {(name, metric): _get_values(pairs[name], metric) for name in pairs for metric in TESTED}
    differences = {key: compute_paired_difference(*sides) for key, sides in values.items()}
    # What cannot be called enters the correction with a p of 1.
    p_values = [
        1.0 if paired is None or paired.t_p is None or paired.n < FEWEST_PAIRS else paired.t_p
        for paired in differences.values()
    ]
    corrected = dict(zip(differences, apply_holm_correction(p_values), strict=True))
    contrasts = []
    for name, variant_pairs in pairs.items():
        metrics = {
            metric.contrast: None
            if (paired := differences[name, metric]) is None
            else _build_difference(paired, values[name, metric][0], corrected[name, metric], len(differences))
            for metric in TESTED
        }
        contrasts.append(_build_contrast(name, baseline, variant_pairs, metrics, tests=len(differences)))
    return contrasts


def _build_contrast(
    variant: str, baseline: str, pairs: Pairs, metrics: Mapping[str, Difference | None], *, tests: int
) -> Contrast:
    differences = Differences(**metrics) if pairs else None
    equivalence = _build_equivalence(differences.test_accuracy_points, tests) if differences else None
    correct: list[tuple[bytes, bytes]] = []
    by_seed = []
    for seed, results in pairs.items():
        first, second = map(_get_correct, results)
        # As many images of another dataset are no pairs.
        same = results[0].dataset_sha256 == results[1].dataset_sha256
        if first is None or second is None or not same or len(first) != len(second):
            continue
        correct.append((first, second))
        test = run_mcnemar_test(first, second)
        by_seed.append(
            McNemar(seed=seed, only_baseline=test.only_baseline, only_variant=test.only_variant, p=test.p)
        )
    on_new_images = None
    if len(correct) > 1 and len({len(first) for first, _ in correct}) == 1:
        interval = compute_two_way_clustered_interval(*map(list, zip(*correct, strict=True)))
        on_new_images = Interval(low=100 * interval.low, high=100 * interval.high)
    return Contrast(
        variant=variant,
        baseline=baseline,
        seeds=list(pairs),
        differences=differences,
        equivalence=equivalence,
        accuracy_on_new_images=on_new_images,
        mcnemar=by_seed,
        verdict=build_verdict(differences, equivalence, on_new_images, by_seed, tests=tests),
    )


def _group_by_seed(jobs: Sequence[Job]) -> dict[int, Result]:
    return {job.seed: job.result for job in jobs if job.result is not None}


def _get_values(pairs: Pairs, metric: Metric) -> tuple[list[float], list[float]]:
    """The metric's values of either side of those pairs in which both have it, in the contrast's unit."""
    values = [[getattr(result, metric.name) for result in pair] for pair in pairs.values()]
    scaled = [[metric.format.scale * value for value in pair] for pair in values if None not in pair]
    return [first for first, _ in scaled], [second for _, second in scaled]


def _build_difference(
    paired_difference: PairedDifference, baselines: Sequence[float], corrected: float, tests: int
) -> Difference:
    baseline = sum(baselines) / len(baselines)
    enough = paired_difference.n >= FEWEST_PAIRS
    detectable = None
    if enough and paired_difference.sd:
        detectable = compute_detectable_difference(
            paired_difference.sd, paired_difference.n, level=ALPHA / tests
        )
    t_p_holm = corrected if enough and paired_difference.t_p is not None else None
    return Difference(
        n=paired_difference.n,
        mean=paired_difference.mean,
        sd=paired_difference.sd,
        low=paired_difference.low,
        high=paired_difference.high,
        t_p=paired_difference.t_p,
        t_p_holm=t_p_holm,
        sign_flip_p=paired_difference.sign_flip_p,
        d=paired_difference.d,
        superiority=paired_difference.superiority,
        detectable=detectable,
        relative=paired_difference.mean / baseline
        if baseline > 0 and baseline + paired_difference.mean > 0
        else None,
        call=choose_call(paired_difference.mean, t_p_holm, paired_difference.sign_flip_p),
    )


def _build_equivalence(accuracy: Difference, tests: int) -> Equivalence | None:
    if accuracy.sd is None:
        return None
    result = run_two_one_sided_tests(accuracy.mean, accuracy.sd, accuracy.n, margin=MARGIN_POINTS)
    needed = max(FEWEST_PAIRS, compute_required_pairs(MARGIN_POINTS, accuracy.sd, level=ALPHA / tests))
    return Equivalence(
        margin_points=MARGIN_POINTS,
        low=result.low,
        high=result.high,
        p=result.p,
        equivalent=result.p < ALPHA and accuracy.n >= FEWEST_PAIRS,
        more_seeds=max(0, needed - accuracy.n),
    )


def _get_correct(result: Result) -> bytes | None:
    # Where the caller did not load the column, touching it would cost a query a row.
    return None if "test_correct" in inspect(result).unloaded else result.test_correct
