"""Each variant against the baseline, in pairs that share a seed, and a part. Pure: no database, no HTTP."""

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

import numpy as np
from sqlalchemy import inspect

from api.reports.schemas import Contrast, Difference, Differences, Equivalence, Failures, Interval, McNemar
from api.reports.verdicts import build_verdict
from models.experiments import FEWEST_PAIRS, Regime
from models.inference import JudgedFamily, Plan, judge_differences
from models.mcnemar import run_mcnemar_test
from models.metrics import CONTRASTED, Metric
from models.run_key import NO_PART, parse_part
from models.states import JobState
from models.statistics import (
    FEWEST_FOR_INTERVAL,
    compute_detectable_difference,
    compute_differences,
    compute_paired_difference,
    compute_required_pairs,
    compute_sd_interval,
    compute_two_way_clustered_interval,
)
from models.store.tables import Job, Result

RunId = tuple[int, int]
"""Seed and part; NO_PART where the training data is not divided."""
Pairs = Mapping[RunId, tuple[Result, Result]]


def build_contrasts(
    variants: Mapping[str, Sequence[Job]],
    baseline: str,
    plan: Plan,
    baselines: Mapping[str, str] | None = None,
) -> list[Contrast]:
    """A contrast for each of the `variants` but the `baseline`, in their order.

    `baselines` names a baseline for each variant; those that are their own have no contrast.

    Of each variant at most one job a seed and part. The primary metrics of all variants are one family of
    tests, whether or not its jobs have finished: see `models.inference`.
    """
    baselines = baselines or dict.fromkeys(variants, baseline)
    partners = {name: variants[partner] for name, partner in baselines.items() if partner != name}
    # By seed and part, never by position: a missing job must not shift the others' partners.
    pairs: dict[str, Pairs] = {}
    for name, partner in partners.items():
        # Of another dataset there is nothing to pair.
        datasets = {job.dataset for job in partner}
        base = _group_by_run(partner)
        by_run = _group_by_run([job for job in variants[name] if job.dataset in datasets])
        pairs[name] = {run: (base[run], by_run[run]) for run in sorted(base.keys() & by_run.keys())}
    differences = {
        (name, metric): dict(
            zip(
                dict.fromkeys(seed for seed, _ in variant_pairs),
                compute_differences(*_get_values(variant_pairs, metric)),
                strict=True,
            )
        )
        for name, variant_pairs in pairs.items()
        for metric in CONTRASTED
        if metric.name in plan.primary
    }
    judged = judge_differences(differences, plan, variants=len(partners) + 1)
    return [
        _build_contrast(
            name,
            baselines[name],
            variant_pairs,
            _compare_failures(partners[name], variants[name]),
            judged,
            explanation=_explain_absence(variants[name], {job.dataset for job in partners[name]}),
        )
        for name, variant_pairs in pairs.items()
    ]


def _build_contrast(
    variant: str,
    baseline: str,
    pairs: Pairs,
    failures: Failures | None,
    judged: JudgedFamily,
    *,
    explanation: str | None,
) -> Contrast:
    differences, seeds = None, list(dict.fromkeys(seed for seed, _ in pairs))
    if pairs:
        differences = Differences(
            **{metric.contrast: _build_difference(variant, metric, pairs, judged) for metric in CONTRASTED}
        )
    correct: list[tuple[bytes, bytes]] = []
    by_seed = []
    for (seed, part), results in pairs.items():
        # Where the caller did not load the column, touching it would cost a query a row.
        first, second = (
            None if "test_correct" in inspect(result).unloaded else result.test_correct for result in results
        )
        # As many images of another dataset are no pairs.
        same = results[0].dataset_sha256 == results[1].dataset_sha256
        if first is None or second is None or not same or len(first) != len(second):
            continue
        correct.append((first, second))
        test = run_mcnemar_test(first, second)
        by_seed.append(
            McNemar(
                seed=seed,
                part=parse_part(part),
                only_baseline=test.only_baseline,
                only_variant=test.only_variant,
                p=test.p,
            )
        )
    on_new_images = None
    # Models of one seed, each of a part, are not independent, as the interval takes models to be.
    if len(correct) == len(seeds) > 1 and len({len(first) for first, _ in correct}) == 1:
        interval = compute_two_way_clustered_interval(*map(list, zip(*correct, strict=True)))
        on_new_images = Interval(low=100 * interval.low, high=100 * interval.high)
    contrast = Contrast(
        variant=variant,
        baseline=baseline,
        seeds=seeds,
        failures=failures,
        differences=differences,
        accuracy_on_new_images=on_new_images,
        mcnemar=by_seed,
        verdict="",
    )
    verdict = build_verdict(contrast, judged.plan, explanation=explanation)
    return contrast.model_copy(update={"verdict": verdict})


def _explain_absence(jobs: Sequence[Job], datasets: Collection[str]) -> str | None:
    """Why a variant has no pair with a baseline that was trained on these datasets, if its jobs tell."""
    if any(job.dataset not in datasets for job in jobs):
        return "It was trained on another dataset than the baseline, so that the two cannot be compared."
    if jobs and all(job.state == JobState.FAILED and job.error_code for job in jobs):
        reasons = dict.fromkeys(job.error_message or "" for job in jobs)
        failed = "Its job failed" if len(jobs) == 1 else f"All {len(jobs)} jobs failed"
        return f"{failed} ({next(iter(reasons)).removesuffix('.')}{' and others' * (len(reasons) > 1)})."
    return None


def get_run_id(job: Job) -> RunId:
    """By what a job is paired with one of another variant."""
    part = job.spec["dataset"].get("part")
    return job.seed, part["index"] if part else NO_PART


def compute_seed_means(jobs: Sequence[Job], metric: str) -> list[float]:
    """The metric's mean over the parts of each seed that has it: the seed is what is replicated."""
    by_seed: dict[int, list[float]] = {}
    for job in jobs:
        if (value := getattr(job.result, metric, None)) is not None:
            by_seed.setdefault(job.seed, []).append(value)
    return [fmean(values) for values in by_seed.values()]


def _group_by_run(jobs: Sequence[Job]) -> dict[RunId, Result]:
    return {get_run_id(job): job.result for job in jobs if job.result is not None}


def _get_values(pairs: Pairs, metric: Metric) -> tuple[list[float], list[float]]:
    """The metric's values of either side of those pairs in which both have it, in the contrast's unit.

    One a seed: the mean over its parts.
    """
    by_seed: dict[int, list[list[float]]] = {}
    for (seed, _), results in pairs.items():
        pair = [getattr(result, metric.name) for result in results]
        if None not in pair:
            by_seed.setdefault(seed, []).append([metric.format.scale * value for value in pair])
    means = [[fmean(side) for side in zip(*values, strict=True)] for values in by_seed.values()]
    return [first for first, _ in means], [second for _, second in means]


def _compare_failures(baseline: Sequence[Job], variant: Sequence[Job]) -> Failures | None:
    """Of the seeds in which both have ended: in which of the two training failed; None if in neither."""
    outcomes: list[dict[int, bool]] = [{}, {}]
    for by_seed, jobs in zip(outcomes, (baseline, variant), strict=True):
        for job in jobs:
            if job.result or job.state == JobState.FAILED:
                by_seed[job.seed] = by_seed.get(job.seed, True) and job.result is not None
    seeds = sorted(outcomes[0].keys() & outcomes[1].keys())
    succeeded = np.array([[of_jobs[seed] for seed in seeds] for of_jobs in outcomes], dtype=bool)
    if succeeded.all():
        return None
    test = run_mcnemar_test(*(np.packbits(row).tobytes() for row in succeeded))
    baseline_failed, variant_failed = (int(count) for count in (~succeeded).sum(axis=1))
    return Failures(seeds=len(seeds), baseline=baseline_failed, variant=variant_failed, p=test.p)


def _build_difference(variant: str, metric: Metric, pairs: Pairs, judged: JudgedFamily) -> Difference | None:
    values = _get_values(pairs, metric)
    paired = compute_paired_difference(*values)
    if paired is None:
        return None
    mean, n, sd = paired.mean, paired.n, paired.sd
    baseline = sum(values[0]) / n
    known = n >= FEWEST_FOR_INTERVAL
    judgement = judged.judgements.get((variant, metric))
    detectable = None
    if judgement and n >= FEWEST_PAIRS and sd:
        detectable = compute_detectable_difference(
            sd, n, level=judged.plan.level / judged.tests, anytime=judged.plan.regime is not Regime.FIXED
        )
    return Difference(
        n=n,
        mean=mean,
        sd=sd,
        low=paired.low if known else None,
        high=paired.high if known else None,
        t_p=paired.t_p,
        tested=judgement is not None,
        adjusted_p=judgement and judgement.p,
        simultaneous_low=judgement and judgement.low,
        simultaneous_high=judgement and judgement.high,
        d=paired.d,
        superiority=paired.superiority,
        superiority_low=paired.superiority_low,
        superiority_high=paired.superiority_high,
        detectable=detectable if detectable and np.isfinite(detectable) else None,
        relative=mean / baseline if baseline > 0 and baseline + mean > 0 else None,
        call=("higher" if mean > 0 else "lower") if judgement and judgement.called else None,
        equivalence=_build_equivalence(variant, metric, n, sd, judged),
    )


def _build_equivalence(
    variant: str, metric: Metric, n: int, sd: float | None, judged: JudgedFamily
) -> Equivalence | None:
    plan = judged.plan
    margin, judgement = plan.get_margin(metric.name), judged.equivalences.get((variant, metric))
    if margin is None or judgement is None or sd is None:
        return None
    more_seeds: list[int] | None = None
    if plan.regime is Regime.FIXED:
        # Seeds added now would change the plan; a follow-up tests this variant only, on new seeds.
        level, done = plan.level / len(plan.primary), 0
    else:
        level, done = plan.level / judged.tests, n
    if plan.regime is not Regime.INTERIM and n >= FEWEST_PAIRS and sd:
        spread = compute_sd_interval(sd, n)
        more_seeds = [
            max(
                0,
                max(FEWEST_PAIRS, compute_required_pairs(margin, value, level=level, anytime=bool(done)))
                - done,
            )
            for value in (spread.low, sd, spread.high)
        ]
    low, count, high = more_seeds or (None, None, None)
    return Equivalence(
        margin=margin,
        p=judgement.p,
        equivalent=judgement.equivalent,
        more_seeds=count,
        more_seeds_low=low,
        more_seeds_high=high,
    )
