"""Onsets of overfitting of a report's variants."""

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy.orm import Session

from models.overfitting import FEWEST_SEEDS, Candidate, find_candidate, is_confirmed
from models.store.report_data import EpochSummary, load_losses


def load_overfitting_onsets(
    session: Session, variants: Mapping[str, Sequence[str]], summaries: Mapping[str, Sequence[EpochSummary]]
) -> dict[str, int]:
    """For each variant that overfits, the epoch of its lowest mean validation loss.

    `summaries` are of the jobs in `variants`. Only epochs that all of them reached count, because jobs that
    stop early are not like the others. Single jobs' losses are loaded of two epochs only.
    """
    candidates: dict[str, Candidate] = {}
    for name, epochs in summaries.items():
        n = len(variants[name])
        common = {
            epoch.epoch: (epoch.validation_loss.mean, *epoch.validation_loss_by_half)
            for epoch in epochs
            if epoch.validation_loss is not None and epoch.validation_loss.n == n
        }
        if n >= FEWEST_SEEDS and common:
            means = np.array(list(common.values()), dtype=np.float64).T
            candidate = find_candidate(list(common), means[0], means[1:])
            if candidate is not None:
                candidates[name] = candidate
    jobs = [
        (job_id, candidate.tested_from[position % 2], candidate.last)
        for name, candidate in candidates.items()
        for position, job_id in enumerate(variants[name])
    ]
    earlier = load_losses(session, {job_id: epoch for job_id, epoch, _ in jobs})
    last = load_losses(session, {job_id: epoch for job_id, _, epoch in jobs})
    # A job that is deleted meanwhile is missing from either.
    changes = {
        job_id: np.array(last[job_id], dtype=np.float64) - np.array(losses, dtype=np.float64)
        for job_id, losses in earlier.items()
        if job_id in last
    }
    return {
        name: candidate.epoch
        for name, candidate in candidates.items()
        if changes.keys() >= set(variants[name])
        and is_confirmed(*np.array([changes[job_id] for job_id in variants[name]]).T)
    }
