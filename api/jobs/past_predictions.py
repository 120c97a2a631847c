"""Test predictions of jobs from before these were stored, made from the stored model."""

from threading import Lock

import numpy as np

from models import predictions
from models.artifacts import ArtifactStore, get_attempt_folder
from models.dataset_arrays import load_specified
from models.errors import NotFound, PredictorUnavailable
from models.predictions import MOST_IMAGES
from models.settings import Settings
from models.spec import PIXELS, STORED, JobSpec
from models.store.tables import Job
from models.test_predictions import TestPredictions

_making = Lock()
"""One at a time in a process: those of 10,000 images keep the predictor busy for seconds."""


def make_test_predictions(job: Job, store: ArtifactStore, settings: Settings) -> bytes:
    """What the job's model says of the test images, as an `.npz` file; made once, then kept with the model.

    Raises:
        NotFound: the model has been removed.
        PredictorUnavailable: no predictor answers in time, or another request is being answered.
        DatasetUnavailable: the dataset is not on this machine.
    """
    name = f"{get_attempt_folder(job.id, job.attempt)}/test_predictions_of_model.npz"
    if store.has(name):
        return store.get(name, sha256=None)
    if job.result is None or not store.has(job.result.model_path):
        raise NotFound(
            f"Job {job.id} is from before test predictions were stored, and its model, from which they could "
            "be made, has been removed; train the job again."
        )
    dataset = load_specified(JobSpec.model_validate(job.spec, context=STORED).dataset, settings, store)
    images = dataset.test_images.reshape(-1, PIXELS).astype("<f4") / np.float32(255)
    if not _making.acquire(blocking=False):
        raise PredictorUnavailable("The test predictions of another older job are being made.")
    try:
        answers = [
            predictions.predict(settings, [job.id], images[start : start + MOST_IMAGES].tobytes())[0]
            for start in range(0, len(images), MOST_IMAGES)
        ]
    finally:
        _making.release()
    # A probability too small for 32 bits arrives as 0, whose logarithm is no number.
    logarithms = np.log(np.maximum(np.concatenate(answers), np.finfo(np.float32).tiny)).astype(np.float32)
    content = TestPredictions(logarithms, dataset.test_labels.astype(np.int32)).to_bytes()
    store.put(name, content)
    return content
