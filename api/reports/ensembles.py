"""Ensembles of each variant's seeds, from what their models predicted for the test images."""

from collections.abc import Mapping, Sequence

import numpy as np

from api.reports.ensemble_schemas import EnsembleItem, EnsembleSize
from api.reports.mistakes import load_predictions
from models.artifacts import ArtifactStore
from models.ensembles import measure_ensembles
from models.store.tables import Job

MAX_MEMBERS = 32
"""Seeds of a variant that are used, from the first on: the work grows with the square of their number."""


def build_ensembles(variants: Mapping[str, Sequence[Job]], store: ArtifactStore) -> list[EnsembleItem]:
    """Of each variant with two members or more, of finished jobs, one a seed.

    Seeds without stored predictions, or of other test images than the first, are left out.
    """
    items = []
    for name, jobs in variants.items():
        predictions = load_predictions(sorted(jobs, key=lambda job: job.seed)[:MAX_MEMBERS], store)
        if not predictions:
            continue
        labels = next(iter(predictions.values())).labels
        members = {
            seed: one.log_probabilities.astype(np.float64)
            for seed, one in predictions.items()
            if np.array_equal(one.labels, labels)
        }
        if len(members) < 2:
            continue
        sizes, gain = measure_ensembles(np.stack(list(members.values())), labels)
        items.append(
            EnsembleItem(
                variant=name,
                seeds=list(members),
                sizes=[EnsembleSize(**size._asdict()) for size in sizes],
                **vars(gain),
            )
        )
    return items
