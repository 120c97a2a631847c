"""What a finished job leaves in the artifact store: the model and its predictions for the test images."""

import tempfile
from pathlib import Path

import keras

from models.artifacts import ArtifactStore, get_attempt_folder
from models.test_predictions import SUFFIX, TestPredictions


def save_artifacts(
    store: ArtifactStore, job_id: str, attempt: int, model: keras.Model, predictions: TestPredictions | None
) -> dict[str, str | None]:
    """Write the model as `.keras` and what it predicts for the test images, if it may, as `.npz`.

    Returns ResultRecord's fields of the two files: their names and digests.
    """
    folder = get_attempt_folder(job_id, attempt)
    model_path, predictions_path = f"{folder}/model.keras", f"{folder}/test_predictions{SUFFIX}"
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.keras"
        model.save(path)
        model_sha256 = store.put(model_path, path.read_bytes())
    return {
        "model_path": model_path,
        "model_sha256": model_sha256,
        "predictions_path": predictions_path if predictions else None,
        "predictions_sha256": store.put(predictions_path, predictions.to_bytes()) if predictions else None,
    }
