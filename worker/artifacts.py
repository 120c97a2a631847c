"""What a finished job leaves in the artifact store: the model and its probabilities for the test images."""

import io
import tempfile
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from models.artifacts import ArtifactStore, get_attempt_folder


def save_artifacts(
    store: ArtifactStore, job_id: str, attempt: int, model: keras.Model, probabilities: NDArray[np.float64]
) -> dict[str, str]:
    """Write the model as `.keras` and the probabilities (n, classes) as `.npy` of 16-bit floats.

    Returns ResultRecord's fields of the two files: their names and digests.
    """
    folder = get_attempt_folder(job_id, attempt)
    model_path, predictions_path = f"{folder}/model.keras", f"{folder}/test_probabilities.npy"
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.keras"
        model.save(path)
        model_sha256 = store.put(model_path, path.read_bytes())
    array = io.BytesIO()
    np.save(array, probabilities.astype(np.float16), allow_pickle=False)
    return {
        "model_path": model_path,
        "model_sha256": model_sha256,
        "predictions_path": predictions_path,
        "predictions_sha256": store.put(predictions_path, array.getvalue()),
    }
