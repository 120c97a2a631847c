"""Trained models, kept loaded for predictions."""

import hashlib
import logging
import tempfile
from collections.abc import Callable
from functools import cached_property
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
from models.techniques import CATALOGUE
from worker.engine import start_engine
from worker.network import build_inference_model
from worker.techniques.noise import NOISE_LAYERS
from worker.weights import compute_weights_sha256

log = logging.getLogger(__name__)

Images = NDArray[np.float32]
_DROPOUT_LAYERS = tuple(
    layer.keras_layer for technique, layer in NOISE_LAYERS.items() if CATALOGUE[technique].drops_units
)


class LoadedModel:
    """A model's functions of images; the one with active dropout is compiled when it is first used."""

    def __init__(self, network: keras.Model) -> None:
        self._network = network
        self.compute_probabilities = build_per_image_function(network)

    @cached_property
    def sample_probabilities(self) -> Callable[[Images, int], Any]:
        """Images (n, 784) and a number of samples in, a tensor of (n, samples, classes) out."""
        return build_dropout_function(self._network)


class ModelCache:
    """The models that were used last. Which ones a caller may see is not its business."""

    def __init__(self, settings: Settings) -> None:
        self._database = Database(settings)
        self._store = ArtifactStore(settings)
        models: LRUCache[str, LoadedModel] = LRUCache(settings.predictor_models)
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
        probabilities: NDArray[np.float32] = self._model(job_id).compute_probabilities(images).numpy()
        return probabilities

    def sample(self, job_id: str, images: Images, samples: int) -> NDArray[np.float32]:
        """As `predict`, so many times with dropout active: probabilities (n, samples, classes).

        The same image has the same samples in every request. Raises as `predict` does.
        """
        probabilities: NDArray[np.float32] = self._model(job_id).sample_probabilities(images, samples).numpy()
        return probabilities

    def _load(self, job_id: str) -> LoadedModel:
        with self._database.read() as session:
            job = get_job(session, job_id)
        result = get_result(job)
        content = self._store.get(result.model_path, sha256=result.model_sha256)
        log.info("loading the model of job %s", job_id)
        network = load_network(JobSpec.model_validate(job.spec, context=STORED), content)
        # Keras leaves weights that it does not find in a file as they are, which is random.
        if compute_weights_sha256(network) != result.weights_sha256:
            raise ArtifactCorrupted(f"The weights in {result.model_path} differ from the trained ones.")
        return LoadedModel(network)


def load_network(spec: JobSpec, keras_file: bytes) -> keras.Model:
    """The network of a specification with the weights in a `.keras` file: only numbers are read from it."""
    network = build_inference_model(spec)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(keras_file)
        network.load_weights(path)
    return network


def build_per_image_function(network: keras.Model) -> Callable[[Images], Any]:
    """The network as one compiled function: images (n, 784) in, probabilities (n, classes) out.

    Each image passes through it alone. Sums over a batch round differently at different positions: in a
    batch, an image's probabilities would depend in their last digits on the other images.
    """

    @tf.function(input_signature=[tf.TensorSpec((None, PIXELS))], autograph=False)
    def compute_probabilities(images: Any) -> Any:
        return tf.map_fn(lambda image: network(image[None], training=False)[0], images, parallel_iterations=1)

    # Traced now, and called past the warning that tf.function gives where many models are loaded in turn.
    traced: Callable[[Any], Any] = compute_probabilities.get_concrete_function()
    return lambda images: traced(tf.constant(images))


def build_dropout_function(network: keras.Model) -> Callable[[Images, int], Any]:
    """The network with only its dropout layers as in training (Gal and Ghahramani 2016), compiled.

    Noise on the input stays off, and a batch normalization keeps its running statistics. An image's masks
    depend on its pixels and the layer alone, and so not on the other images of a request.
    """

    def sample_image(image_and_seed: tuple[Any, Any], samples: Any) -> Any:
        image, seed = image_and_seed
        x = tf.repeat(image[None], samples, axis=0)
        # build_inference_model makes a chain, whose first layer is the input.
        for index, layer in enumerate(network.layers[1:]):
            is_active = isinstance(layer, _DROPOUT_LAYERS)
            if is_active:
                layer.seed_generator.state.assign(tf.stack([seed, tf.constant(index, tf.int64)]))
            x = layer(x, training=True) if is_active else layer(x, training=False)
        return x

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, PIXELS)),
            tf.TensorSpec((None,), tf.int64),
            tf.TensorSpec((), tf.int32),
        ],
        autograph=False,
    )
    def sample_images(images: Any, seeds: Any, samples: Any) -> Any:
        return tf.map_fn(
            lambda image_and_seed: sample_image(image_and_seed, samples),
            (images, seeds),
            fn_output_signature=tf.float32,
            parallel_iterations=1,
        )

    traced = sample_images.get_concrete_function()

    def sample(images: Images, samples: int) -> Any:
        digests = [hashlib.sha256(image.tobytes()).digest() for image in images]
        seeds = [int.from_bytes(digest[:4], "little") for digest in digests]
        return traced(tf.constant(images), tf.constant(seeds, tf.int64), tf.constant(samples))

    return sample
