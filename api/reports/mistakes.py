"""Images that a variant gets right and the baseline does not, from what their models predicted."""

import io
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from api.reports.mistake_schemas import JobMistake, Mistake, VariantMistakes
from models.artifacts import ArtifactStore
from models.dataset_arrays import Bytes, Dataset, load_specified
from models.errors import ArtifactCorrupted, ArtifactsUnavailable, DatasetUnavailable, NotFound
from models.settings import Settings
from models.spec import STORED, JobSpec
from models.store.tables import Job
from models.test_predictions import TestPredictions, read_test_predictions

IN_REPORT = 8
"""Images of each variant that a report shows."""
_MAX_VARIANTS = 12
_OF_JOB = 12
Predictions = Mapping[int, TestPredictions]


def build_mistakes(
    variants: Mapping[str, Sequence[Job]],
    baselines: Mapping[str, str],
    store: ArtifactStore,
    settings: Settings,
    *,
    limit: int = IN_REPORT,
) -> list[VariantMistakes]:
    """Of each variant up to `limit` images, those first of which the baseline was nearest to the truth.

    `variants` are finished jobs, one a seed; `baselines` names what each is compared with, perhaps itself.
    Variants without predictions in common with the baseline's are left out.
    """
    reports = []
    loaded: dict[str, Predictions] = {}
    compared = [name for name in variants if baselines[name] != name][:_MAX_VARIANTS]
    for name in compared:
        baseline = baselines[name]
        if baseline not in loaded:
            loaded[baseline] = load_predictions(variants[baseline], store)
        before, after = loaded[baseline], load_predictions(variants[name], store)
        seeds = sorted(before.keys() & after.keys())
        same = seeds and all(
            np.array_equal(before[seeds[0]].labels, of[seed].labels)
            for of in (before, after)
            for seed in seeds
        )
        if same:
            draw = _make_painter(variants[name][0], store, settings)
            pairs = [(before[seed], after[seed]) for seed in seeds]
            reports.append(_compare(name, baseline, pairs, draw, limit))
    return reports


def build_job_mistakes(job: Job, store: ArtifactStore, settings: Settings) -> list[JobMistake]:
    """Images that a model gets wrong, those first of which it is surest; none without its predictions."""
    predictions = load_predictions([job], store).get(job.seed)
    if predictions is None:
        return []
    answers = predictions.log_probabilities.argmax(axis=1)
    sureness = predictions.log_probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != predictions.labels)
    draw = _make_painter(job, store, settings)
    return [
        JobMistake(
            index=index,
            label=int(predictions.labels[index]),
            answer=int(answers[index]),
            probability=float(np.exp(sureness[index])),
            picture=draw(index),
        )
        for index in map(int, wrong[np.argsort(-sureness[wrong], kind="stable")][:_OF_JOB])
    ]


def _compare(
    name: str,
    baseline: str,
    pairs: Sequence[tuple[TestPredictions, TestPredictions]],
    draw: Callable[[int], str | None],
    limit: int,
) -> VariantMistakes:
    labels = pairs[0][0].labels
    rows = np.arange(len(labels))
    sides: list[NDArray[Any]] = [
        np.stack([pair[side].log_probabilities for pair in pairs]) for side in (0, 1)
    ]
    means = [side.mean(axis=0, dtype=np.float64) for side in sides]
    answers = [mean.argmax(axis=1) for mean in means]
    right = [answer == labels for answer in answers]
    shares = [(side.argmax(axis=2) == labels).mean(axis=0) for side in sides]
    margins = means[0][rows, answers[0]] - means[0][rows, labels]
    gained = np.flatnonzero(right[1] & ~right[0])
    nearest = gained[np.argsort(margins[gained], kind="stable")][:limit]
    return VariantMistakes(
        variant=name,
        baseline=baseline,
        seeds=len(pairs),
        only_variant=len(gained),
        only_baseline=int((right[0] & ~right[1]).sum()),
        images=[
            Mistake(
                index=index,
                label=int(labels[index]),
                answer=int(answers[0][index]),
                margin=float(margins[index]),
                variant_right=float(shares[1][index]),
                baseline_right=float(shares[0][index]),
                picture=draw(index),
            )
            for index in map(int, nearest)
        ],
    )


def load_predictions(jobs: Sequence[Job], store: ArtifactStore) -> dict[int, TestPredictions]:
    """By seed what each model predicts, where its file is there."""
    predictions = {}
    for job in jobs:
        if job.result is None:
            continue
        path, sha256 = job.result.predictions_path, job.result.predictions_sha256
        try:
            content = read_test_predictions(store, job.id, path, sha256)
        except (NotFound, ArtifactCorrupted, ArtifactsUnavailable):
            continue
        predictions[job.seed] = TestPredictions.from_bytes(content)
    return predictions


def load_dataset(job: Job, store: ArtifactStore, settings: Settings) -> Dataset | None:
    """The images that a job was trained on; None where they are not here."""
    spec = JobSpec.model_validate(job.spec, context=STORED)
    try:
        return load_specified(spec.dataset, settings, store)
    except (DatasetUnavailable, ArtifactsUnavailable):
        return None


def draw_image(image: Bytes) -> str:
    """An image (28, 28) as a `data:` URI of a PNG, dark on white."""
    file = io.BytesIO()
    Image.fromarray(255 - image).save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def _make_painter(job: Job, store: ArtifactStore, settings: Settings) -> Callable[[int], str | None]:
    """A function that draws a test image of a job's dataset; nothing where the images are not here."""
    dataset = load_dataset(job, store, settings)
    return lambda index: None if dataset is None else draw_image(dataset.test_images[index])
