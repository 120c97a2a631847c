"""The map of memorized training images, from what models that saw an image and others answer."""

from collections.abc import Iterable, Sequence

import numpy as np

from api.reports.gains import build_axes, find_position
from api.reports.memorization_schemas import (
    MeanEstimate,
    MemorizationBin,
    MemorizationItem,
    MemorizationReport,
    MemorizedImage,
)
from api.reports.mistakes import draw_image, load_dataset
from models.artifacts import ArtifactStore
from models.errors import ArtifactCorrupted, ArtifactsUnavailable, NotFound
from models.experiments import ExperimentSpec
from models.formatting import format_count
from models.memorization import (
    EDGES,
    FEWEST_MODELS,
    THRESHOLD,
    MemorizationMap,
    ModelAnswers,
    build_map,
    compute_difference_interval,
    compute_interval,
    compute_mean,
    compute_replicates,
)
from models.metrics import format_signed_interval
from models.run_key import format_point, name_variant, parse_point
from models.settings import Settings
from models.store.experiment_runs import ExperimentRun
from models.test_predictions import TestPredictions, TrainingAnswers, read_test_predictions

IN_REPORT = 8
"""Images of each variant that a report shows."""
MAX_ITEMS = 12
"""Variants, or their points, that a report shows."""
_NOT_ASKED = (
    "its jobs were trained without `evaluation.memorization`; set it in the experiment's `base`, where each "
    "seed draws its training images"
)
_REMOVED = "what its models answer has been removed with their files, or cannot be read"
_Key = tuple[int, int]
"""Seed and part, which tell the models of a variant at a point apart."""
_Answers = dict[_Key, TrainingAnswers]


def build_memorization(
    spec: ExperimentSpec,
    runs: Sequence[ExperimentRun],
    store: ArtifactStore,
    settings: Settings,
    *,
    baseline: str | None = None,
    limit: int = IN_REPORT,
) -> MemorizationReport:
    """The maps of each variant at each point of the axes, up to `limit` images of each."""
    compared_with = baseline or spec.baseline_name
    report = MemorizationReport(
        baseline=compared_with, fewest_models=FEWEST_MODELS, large=THRESHOLD, items=[], reason=None
    )
    if not any(asks_for_memorization(run) for run in runs):
        return report.model_copy(update={"reason": f"There is no map: {_NOT_ASKED}."})
    groups: dict[str, dict[str, list[ExperimentRun]]] = {
        format_point(point): {variant.name: [] for variant in spec.variants} for point in spec.points
    }
    for run in runs:
        groups[run.key.point][run.variant].append(run)
    axes, names, items = build_axes(spec), [variant.name for variant in spec.variants], []
    for point, variants in groups.items():
        reference = _load_answers(variants[compared_with], store)
        for name, of_variant in variants.items():
            answers = reference if name == compared_with else _load_answers(of_variant, store)
            at = parse_point(point)
            title = name_variant(name, at)
            item = MemorizationItem(name=title, variant=name, point=at, models=len(answers), counted=0)
            if reason := _find_reason(of_variant, answers):
                items.append(item.model_copy(update={"reason": reason}))
                continue
            difference = _compare(answers, reference) if name != compared_with else None
            measured = _measure(item, answers, difference, compared_with, limit)
            items.append(_draw(measured, of_variant[0], store, settings))
    items.sort(key=lambda item: (names.index(item.variant), find_position(item.point, axes)))
    reasons = [item.reason for item in items if item.reason]
    reason = f"There is no map: {reasons[0]}." if len(reasons) == len(items) else None
    return report.model_copy(update={"items": items, "reason": reason})


def asks_for_memorization(run: ExperimentRun) -> bool:
    """Whether a run's specification has its model answer the training images."""
    return bool(run.job.spec.get("evaluation", {}).get("memorization"))


def _load_answers(runs: Sequence[ExperimentRun], store: ArtifactStore) -> _Answers:
    """Those of the models whose files are there, all of the first one's dataset."""
    answers: _Answers = {}
    digests = [run.job.result.dataset_sha256 for run in runs if run.job.result]
    for run in runs:
        result = run.job.result
        if result is None or not asks_for_memorization(run) or result.dataset_sha256 != digests[0]:
            continue
        path, sha256 = result.predictions_path, result.predictions_sha256
        try:
            content = read_test_predictions(store, run.job.id, path, sha256)
        except (NotFound, ArtifactCorrupted, ArtifactsUnavailable):
            continue
        if training := TestPredictions.from_bytes(content).training:
            answers[run.seed, run.key.part] = training
    return answers


def _stack(answers: _Answers, keys: Iterable[_Key]) -> ModelAnswers:
    """Those of some models, in the order of their seeds."""
    chosen = sorted(keys)
    return ModelAnswers(
        np.stack([answers[key].seen for key in chosen]),
        np.stack([answers[key].correct for key in chosen]),
        [seed for seed, _ in chosen],
    )


def _find_reason(runs: Sequence[ExperimentRun], answers: _Answers) -> str | None:
    """Why models with these answers make no map; None where they do."""
    if not answers:
        finished = [run for run in runs if run.job.result]
        if not finished:
            return "none of its jobs has finished"
        return _REMOVED if any(map(asks_for_memorization, finished)) else _NOT_ASKED
    stacked = _stack(answers, answers)
    models, sets = len(answers), stacked.count_training_sets()
    if sets < models:
        return (
            f"its {models} models have seen only {format_count(sets, 'different set')} of training images, "
            "and what one set does cannot be separated from what one image does; let each seed draw its own "
            "(`split_per_seed`)"
        )
    if not len(stacked.find_images()):
        return (
            f"of its {format_count(models, 'model')} no image has {FEWEST_MODELS} that saw it and "
            f"{FEWEST_MODELS} that did not; add seeds, or leave more images out of training"
        )
    return None


def _measure(
    item: MemorizationItem,
    answers: _Answers,
    difference: MeanEstimate | None,
    baseline: str,
    limit: int,
) -> MemorizationItem:
    stacked = _stack(answers, answers)
    estimated = build_map(stacked)
    # Of equal estimates those first that are the least likely by chance.
    order = np.lexsort((estimated.chances, -estimated.estimates))[:limit].tolist()
    large = float(estimated.is_above_threshold.mean())
    measured = item.model_copy(
        update={
            "counted": len(estimated.images),
            "mean": _build_mean(
                compute_mean(stacked, estimated.images), compute_replicates(stacked, estimated.images)
            ),
            "difference": difference,
            "memorized": int(estimated.memorized.sum()),
            "large_share": large,
            "large_share_by_chance": estimated.expected_above_threshold / len(estimated.images),
            "histogram": [
                MemorizationBin(low=low, high=high, images=images, by_chance=by_chance)
                for low, high, images, by_chance in zip(
                    EDGES[:-1].tolist(),
                    EDGES[1:].tolist(),
                    estimated.histogram.tolist(),
                    estimated.expected_histogram.tolist(),
                    strict=True,
                )
            ],
            "images": [_build_image(estimated, position) for position in order],
        }
    )
    return measured.model_copy(update={"text": _describe(measured, baseline)})


def _build_image(estimated: MemorizationMap, position: int) -> MemorizedImage:
    inside = int(estimated.correct_in[position]), int(estimated.models_in[position])
    outside = int(estimated.correct_out[position]), int(estimated.models_out[position])
    low, high = compute_difference_interval(inside, outside)
    return MemorizedImage(
        index=int(estimated.images[position]),
        label=None,
        models_in=inside[1],
        accuracy_in=inside[0] / inside[1],
        models_out=outside[1],
        accuracy_out=outside[0] / outside[1],
        estimate=float(estimated.estimates[position]),
        low=low,
        high=high,
        chance=float(estimated.chances[position]),
        memorized=bool(estimated.memorized[position]),
        caption=f"{100 * inside[0] / inside[1]:.0f} / {100 * outside[0] / outside[1]:.0f} %",
        picture=None,
    )


def _compare(answers: _Answers, reference: _Answers) -> MeanEstimate | None:
    """Their mean estimates' difference over the models that both have; None where they saw other images."""
    shared = sorted(
        key
        for key in answers.keys() & reference.keys()
        if np.array_equal(answers[key].seen, reference[key].seen)
    )
    if not shared:
        return None
    variant, baseline = _stack(answers, shared), _stack(reference, shared)
    images = variant.find_images()
    if not len(images):
        return None
    pairs = zip(compute_replicates(variant, images), compute_replicates(baseline, images), strict=True)
    value = compute_mean(variant, images) - compute_mean(baseline, images)
    return _build_mean(value, [mine - theirs for mine, theirs in pairs])


def _build_mean(value: float, replicates: Sequence[float]) -> MeanEstimate:
    """The interval about the value itself, which differs little from the mean of the replicates."""
    low, high = compute_interval(replicates)
    if low is None or high is None:
        return MeanEstimate(value=value, low=None, high=None)
    half = (high - low) / 2
    return MeanEstimate(value=value, low=value - half, high=value + half)


def _describe(item: MemorizationItem, baseline: str) -> str:
    if item.mean is None or item.large_share is None or item.large_share_by_chance is None:
        raise ValueError("an item without a map has no numbers")
    models, images = format_count(item.models, "model"), format_count(item.counted, "training image")
    shares = [f"{100 * share:.2f} %" for share in (item.large_share, item.large_share_by_chance)]
    sentences = [
        f"{models}, {images} with {FEWEST_MODELS} or more of them on either side.",
        f"Mean estimate {_format_mean(item.mean)}.",
        f"Estimates of {THRESHOLD} or more: {shares[0]}, by chance {shares[1]}.",
        f"Memorized beyond chance: {format_count(item.memorized or 0, 'image')}.",
    ]
    if item.difference:
        change = item.difference
        text = format_signed_interval(change.value, change.low, change.high, 4)
        sentences.append(f"Mean estimate minus that of {baseline}: {text}.")
    return " ".join(sentences)


def _format_mean(mean: MeanEstimate) -> str:
    if mean.low is None or mean.high is None:
        return f"{mean.value:.4f}"
    return f"{mean.value:.4f} ({mean.low:.4f} to {mean.high:.4f})"


def _draw(
    item: MemorizationItem, run: ExperimentRun, store: ArtifactStore, settings: Settings
) -> MemorizationItem:
    """The same with labels and pictures, where the dataset is here."""
    dataset = load_dataset(run.job, store, settings)
    if dataset is None:
        return item
    images = []
    for image in item.images:
        label = int(dataset.train_labels[image.index])
        drawn = {"label": label, "picture": draw_image(dataset.train_images[image.index])}
        images.append(image.model_copy(update=drawn | {"caption": f"{label}: {image.caption}"}))
    return item.model_copy(update={"images": images})
