"""Trained models, kept loaded for predictions."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from models.artifacts import ArtifactStore
from models.errors import ArtifactCorrupted
from models.settings import Settings
from models.spec import PIXELS, STORED, JobSpec
from models.store.database import Database
from models.store.jobs import get_result
from models.store.transitions import get_job
from worker.engine import start_engine
from worker.network import build_inference_model
from worker.weights import compute_weights_sha256

log = logging.getLogger(__name__)

Images = NDArray[np.float32]
Model = Callable[[Images], Any]
"""Images (n, 784) in, a tensor of probabilities (n, classes) out."""


class ModelCache:
    """The models that were used last. Which ones a caller may see is not its business."""

    def __init__(self, settings: Settings) -> None:
        self._database = Database(settings)
        self._store = ArtifactStore(settings)
        models: LRUCache[str, Model] = LRUCache(settings.predictor_models)
        self._model = cached(models)(self._load)
        start_engine(settings.training_threads)

    def close(self) -> None:
        """Give back the database's connections."""
        self._database.close()

    def predict(self, job_id: str, images: Images) -> NDArray[np.float32]:
        """What a job's model makes of images (n, 784), 0 to 1: probabilities (n, classes).

        Raises:
            NotFound: there is no such job, or it has no model, or no longer.
            ArtifactCorrupted: the model's file or its weights are not the ones that were stored.
        """
        probabilities: NDArray[np.float32] = self._model(job_id)(images).numpy()
        return probabilities

    def _load(self, job_id: str) -> Model:
        with self._database.read() as session:
            job = get_job(session, job_id)
        result = get_result(job)
        content = self._store.get(result.model_path, sha256=result.model_sha256)
        log.info("loading the model of job %s", job_id)
        network = load_network(JobSpec.model_validate(job.spec, context=STORED), content)
        # Keras leaves weights that it does not find in a file as they are, which is random.
        if compute_weights_sha256(network) != result.weights_sha256:
            raise ArtifactCorrupted(f"The weights in {result.model_path} differ from the trained ones.")
        return build_per_image_function(network)


def load_network(spec: JobSpec, keras_file: bytes) -> keras.Model:
    """The network of a specification with the weights in a `.keras` file: only numbers are read from it."""
    network = build_inference_model(spec)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(keras_file)
        network.load_weights(path)
    return network


def build_per_image_function(network: keras.Model) -> Model:
    """The network as one compiled function of images (n, 784), each of which passes through it alone.

    Sums over a batch round differently at different positions: in a batch, an image's probabilities would
    depend in their last digits on the other images.
    """

    @tf.function(input_signature=[tf.TensorSpec((None, PIXELS))], autograph=False)
    def compute_probabilities(images: Any) -> Any:
        return tf.map_fn(lambda image: network(image[None], training=False)[0], images, parallel_iterations=1)

    # Traced now, and called past the warning that tf.function gives where many models are loaded in turn.
    traced: Model = compute_probabilities.get_concrete_function()
    return lambda images: traced(tf.constant(images))
