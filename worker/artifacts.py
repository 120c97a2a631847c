"""What a finished job leaves in the artifact store: the model and its answers to the test images."""

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
    return SavedArtifacts(
        model_path=model_path,
        model_sha256=store.put(model_path, _keras_file(model)),
        predictions_path=predictions_path,
        predictions_sha256=store.put(predictions_path, _numpy_file(probabilities.astype(np.float16))),
    )


def _keras_file(model: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()


def _numpy_file(array: NDArray[np.float16]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
