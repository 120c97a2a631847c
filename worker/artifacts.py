"""What a finished job leaves in the artifact store: the model and its probabilities for the test images."""

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from models.artifacts import ArtifactStore, get_attempt_folder


@dataclass(frozen=True)
class SavedArtifacts:
    """Names and digests of a job's files."""

    model_path: str
    model_sha256: str
    predictions_path: str
    predictions_sha256: str


def save_artifacts(
    store: ArtifactStore, job_id: str, attempt: int, model: keras.Model, probabilities: NDArray[np.float64]
) -> SavedArtifacts:
    """Write the model as `.keras` and the probabilities (n, 10) as `.npy` of 16-bit floats.

    The attempt is part of the names, so that two attempts at a job never write the same file.
    """
    folder = get_attempt_folder(job_id, attempt)
    model_path, predictions_path = f"{folder}/model.keras", f"{folder}/test_probabilities.npy"
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.keras"
        model.save(path)
        model_sha256 = store.put(model_path, path.read_bytes())
    array = io.BytesIO()
    np.save(array, probabilities.astype(np.float16), allow_pickle=False)
    predictions_sha256 = store.put(predictions_path, array.getvalue())
    return SavedArtifacts(model_path, model_sha256, predictions_path, predictions_sha256)
