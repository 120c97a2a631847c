"""What a report compares: an experiment's variants, or any jobs, grouped by what they were trained with."""

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from statistics import mean
from typing import Any

from api.http.curl import format_curl
from api.reports.comparison import JobGroups
from api.reports.gains import build_axes
from models.confounders import find_confounders
from models.documents import create_merge_patch, flatten
from models.experiments import MAX_VARIANT_NAME, ExperimentSpec, Regime
from models.formatting import format_count, format_techniques
from models.inference import Plan, choose_regime
from models.run_key import format_point, name_variant, parse_point
from models.selection import VariantMeans, choose_variant
from models.settings import Settings
from models.spec import STORED, JobSpec
from models.states import JobState
from models.stopping_rules import DecideRule, get_common_seeds
from models.store.experiment_runs import ExperimentRun
from models.store.tables import Experiment, Job

# What cannot make two jobs of one variant differ in kind.
_NOT_THE_VARIANT = ("name", "labels", "priority", "seed")

_DECIDE_RULE = (
    "A variant gets no more seeds once each of its tested differences is called or lies within its margin, "
    "and none is added beyond {jobs} in all. So means may be over different numbers of seeds; differences "
    "are always within pairs."
)


def group_experiment(
    experiment: Experiment,
    runs: Sequence[ExperimentRun],
    follow_ups: Sequence[str] = (),
    *,
    settings: Settings,
    base_url: str,
    baseline: str | None = None,
) -> JobGroups:
    """An experiment's variants, in its own order; `baseline`: another one than planned."""
    document = experiment.document
    spec = ExperimentSpec.model_validate(document, context=STORED)
    other_baseline = baseline is not None and baseline != spec.baseline_name
    compared_with = baseline or spec.baseline_name
    # At each point of the axes a variant is a group of its own.
    names = {
        (variant.name, format_point(point)): name_variant(variant.name, point)
        for point in spec.points
        for variant in spec.variants
    }
    variants: dict[str, list[Job]] = {name: [] for name in names.values()}
    for run in runs:
        variants[names[run.variant, run.key.point]].append(run.job)
    expected = spec.judged_jobs if spec.is_tuned else 0
    common = set(get_common_seeds(document))
    states = [JobState(run.job.state) for run in runs]
    complete = all(state.terminal for state in states) and not experiment.auto_extending
    choices = {}
    for point in map(format_point, spec.points) if complete else ():
        means = [
            _compute_means(
                variant.name,
                [job for job in variants[names[variant.name, point]] if job.seed in common],
            )
            for variant in spec.variants
        ]
        choices[point] = choose_variant(document, means, spec.baseline_name)
    # To cancel or delete a run, having seen others, is to choose which seeds count.
    changed = experiment.extended or len(runs) < expected or JobState.CANCELLED in states
    return JobGroups(
        title=experiment.name,
        experiment_id=experiment.id,
        baseline=names[compared_with, format_point(spec.points[0])],
        variants=variants,
        baselines={name: names[compared_with, point] for (_, point), name in names.items()},
        points={name: values for (_, point), name in names.items() if (values := parse_point(point))},
        expected=expected,
        plan=Plan(
            choose_regime(
                spec.inference_rule, complete=complete, changed=changed, other_baseline=other_baseline
            ),
            spec.primary,
            spec.margin_points,
            spec.margin_loss,
            planned_baseline=spec.baseline_name if other_baseline else None,
        ),
        complete=complete,
        choices=choices,
        axes=build_axes(spec),
        repeat=format_curl(
            settings,
            base_url,
            "/v1/experiments",
            spec.forget_tuning().model_dump(mode="json", exclude_defaults=True),
        ),
        confirms=spec.confirms,
        follow_ups=follow_ups,
        stopping_rule=_DECIDE_RULE.format(jobs=format_count(spec.stopping_rule.max_jobs, "job"))
        if isinstance(spec.stopping_rule, DecideRule)
        else None,
        split_per_seed=bool(spec.split_per_seed),
        tuned=frozenset(field for variant in spec.variants for field in spec.get_parameters(variant)),
        reused=frozenset(
            (names[run.variant, run.key.point], run.seed, run.key.part) for run in runs if run.reused
        ),
    )


def _compute_means(variant: str, jobs: Sequence[Job]) -> VariantMeans:
    results = [job.result for job in jobs if job.result is not None]
    losses = [result.validation_loss for result in results if result.validation_loss is not None]
    accuracies = [result.test_accuracy for result in results if result.test_accuracy is not None]
    return VariantMeans(
        variant,
        len(results),
        mean(losses) if results and len(losses) == len(results) else None,
        mean(accuracies) if accuracies else 0.0,
    )


def group_jobs(
    jobs: Sequence[Job], split_per_seed: Collection[str] = (), *, settings: Settings, base_url: str
) -> JobGroups:
    """Any jobs: those whose specifications differ in nothing but the seed are one variant.

    So are those that differ in a `split_seed` that follows the seed; `split_per_seed` has the ids of the jobs
    in experiments where it does. The baseline is the first variant without regularization, else the first.
    """
    following = _find_jobs_with_own_split([job for job in jobs if job.id in split_per_seed])
    groups: dict[str, list[Job]] = {}
    documents_by_key: dict[str, dict[str, Any]] = {}
    for job in jobs:
        document = {key: value for key, value in job.spec.items() if key not in _NOT_THE_VARIANT}
        if follows := job.id in following:
            document["dataset"] = document["dataset"] | {"split_seed": _compute_base_split_seed(job)}
        key = json.dumps([follows, document], sort_keys=True)
        groups.setdefault(key, []).append(job)
        documents_by_key[key] = document
    documents = list(documents_by_key.values())
    all_follow = all(job.id in following for job in jobs)
    split_seeds = {document["dataset"]["split_seed"] for document in documents}
    names = _build_names(list(groups.values()), documents)
    plain = [index for index, document in enumerate(documents) if not document["regularization"]]
    first = plain[0] if plain else 0
    base = documents[first]
    repeat = {
        "name": "again",
        "base": JobSpec.model_validate(base).model_dump(mode="json", exclude_defaults=True),
        "variants": [
            {"name": name, "changes": create_merge_patch(base, document)}
            for name, document in zip(names, documents, strict=True)
        ],
        "baseline": names[first],
        "seeds": sorted({job.seed for job in jobs}),
        "allow_confounders": any(find_confounders(base, document) for document in documents),
        "split_per_seed": all_follow and len(split_seeds) == 1,
    }
    return JobGroups(
        title=format_count(len(jobs), "job"),
        experiment_id=None,
        baseline=names[first],
        variants=dict(zip(names, groups.values(), strict=True)),
        expected=sum(len({job.seed for job in group}) for group in groups.values()),
        # These jobs were not planned together; they may have been selected by their results.
        plan=Plan(Regime.SEQUENTIAL),
        complete=all(JobState(job.state).terminal for job in jobs),
        repeat=format_curl(settings, base_url, "/v1/experiments", repeat),
        split_per_seed=all_follow,
    )


def _find_jobs_with_own_split(candidates: Sequence[Job]) -> set[str]:
    """Those jobs whose `split_seed` follows their seed.

    A job may also stand for an experiment in which it does not; another seed of the same base tells.
    """
    seeds: dict[int, set[int]] = defaultdict(set)
    for job in candidates:
        seeds[_compute_base_split_seed(job)].add(job.seed)
    return {job.id for job in candidates if len(seeds[_compute_base_split_seed(job)]) > 1}


def _compute_base_split_seed(job: Job) -> int:
    return int(job.spec["dataset"]["split_seed"] - job.seed) % 2**31


def _build_names(groups: Sequence[Sequence[Job]], documents: Sequence[dict[str, Any]]) -> list[str]:
    """The variants' own names where each group has exactly one, else what tells the groups apart."""
    own = [{job.variant for job in group} for group in groups]
    shared = [next(iter(names)) for names in own if len(names) == 1]
    if len(shared) == len(set(shared)) == len(groups) and None not in shared:
        return [str(name) for name in shared]
    leaves = [flatten(document) for document in documents]
    fields = dict.fromkeys(field for leave in leaves for field in leave)
    differing = [
        field
        for field in fields
        if not field.startswith("regularization.") and len({str(leave.get(field)) for leave in leaves}) > 1
    ]
    names = [
        name_variant(
            format_techniques(document["regularization"]),
            {f"/{field.replace('.', '/')}": leave.get(field) for field in differing},
        )
        for document, leave in zip(documents, leaves, strict=True)
    ]
    # Room for the number of one of several that begin alike.
    names = [
        name if len(name) <= MAX_VARIANT_NAME else f"{name[: MAX_VARIANT_NAME - 10]} ..." for name in names
    ]
    return [
        f"{name} ({names[: index + 1].count(name)})" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]
