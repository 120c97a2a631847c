"""The Celery application that computes predictions: `celery -A worker.predictor:app worker`.

A process that trains nothing, so that models stay loaded and no prediction waits for a training. Training
processes have priority over it.
"""

import base64
import json
import logging
import os
import time
from functools import lru_cache
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import numpy as np
from celery import Celery, signals
from numpy.typing import NDArray
from redis.exceptions import RedisError

from models.errors import ArtifactCorrupted, NotFound, ServiceUnavailable
from models.logs import configure_logging
from models.predictions import (
    AWAY,
    DAMAGED,
    FAILED,
    GONE,
    PREDICT,
    READY,
    REPLY_SECONDS,
    build_predictor_settings,
)
from models.settings import Settings, get_settings
from models.spec import PIXELS
from models.tracing import add_trace_event, set_span_attributes, start_tracing
from worker.kombu_patch import patch_kombu
from worker.optional_imports import skip_optional_imports

if TYPE_CHECKING:
    from worker.model_cache import ModelCache

log = logging.getLogger(__name__)

NICENESS = 10
ANNOUNCE_SECONDS = 2.0
_READY_SECONDS = 10

_cache_lock = Lock()


def make_app(settings: Settings) -> Celery:
    """Celery as predictions need it."""
    patch_kombu()
    app = Celery("regbench-predictor", set_as_current=False)
    app.conf.update(build_predictor_settings(settings), worker_pool="solo", worker_concurrency=1)
    return app


app = make_app(get_settings())


def get_model_cache() -> "ModelCache":
    """This process's models; the first call takes TensorFlow's import, some seconds."""
    with _cache_lock:  # the warm-up and the first request may both be first
        return _make_models()


@lru_cache(maxsize=1)
def _make_models() -> "ModelCache":
    with skip_optional_imports("sklearn"):  # it splits data, and nothing is split here
        from worker.model_cache import ModelCache  # noqa: PLC0415 (so that importing this module needs no TensorFlow)

    return ModelCache(get_settings())


@app.task(name=PREDICT)
def predict(job_ids: list[str], images: str, reply_key: str, dropout_samples: int | None = None) -> None:
    """Send each job's probabilities (n, classes) for images (n, 784), base64 of float32; or an error.

    With `dropout_samples` also how far as many passes with active dropout are apart; the probabilities are
    then their means.
    """
    response: dict[str, Any]
    try:
        pixels = np.frombuffer(base64.b64decode(images), "<f4").reshape(-1, PIXELS)
        set_span_attributes({"job_ids": job_ids, "images": len(pixels), "dropout_samples": dropout_samples})
        cache = get_model_cache()
        if dropout_samples is None:
            response = {"probabilities": [cache.predict(job_id, pixels).tolist() for job_id in job_ids]}
        else:
            summaries = [summarize(cache.sample(job_id, pixels, dropout_samples)) for job_id in job_ids]
            response = {key: [summary[key] for summary in summaries] for key in ("probabilities", "spreads")}
    except ArtifactCorrupted as error:
        log.error("not loaded: %s", error.message)
        response = {"fault": DAMAGED, "detail": f"{error.message} It was not loaded; train the job again."}
    except NotFound as error:
        response = {"fault": GONE, "detail": error.message}
    except ServiceUnavailable as error:
        log.warning("a prediction failed: %s", error.message)
        response = {"fault": AWAY, "detail": error.message}
    except Exception as error:
        log.exception("a prediction failed")
        cause = type(error).__name__
        response = {"fault": FAILED, "detail": f"The predictor failed with {cause}; its log has the cause."}
    if "fault" in response:
        add_trace_event("failed", {"code": response["fault"], "message": response["detail"]}, failed=True)
    with app.backend.client.pipeline() as pipeline:
        pipeline.rpush(reply_key, json.dumps(response)).expire(reply_key, REPLY_SECONDS).execute()


def summarize(samples: NDArray[np.float32]) -> dict[str, Any]:
    """Means over samples (n, samples, classes) of probabilities, and each image's spread."""
    exact = samples.astype(float)
    mean = exact.mean(axis=1)

    def compute_entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        logarithms = np.log(np.maximum(probabilities, np.finfo(float).tiny))
        entropy: NDArray[np.float64] = -(probabilities * logarithms).sum(axis=-1)
        return entropy

    predictive_entropy = compute_entropy(mean)
    # Not negative but for rounding, as entropy is concave.
    mutual_information = np.maximum(predictive_entropy - compute_entropy(exact).mean(axis=1), 0.0)
    spreads = [
        {
            "samples": exact.shape[1],
            "sd": sd.tolist(),
            "predictive_entropy": float(entropy),
            "mutual_information": float(information),
        }
        for sd, entropy, information in zip(
            exact.std(axis=1, ddof=1), predictive_entropy, mutual_information, strict=True
        )
    ]
    return {"probabilities": mean.tolist(), "spreads": spreads}


@signals.setup_logging.connect
def set_up_logging(**_: Any) -> None:
    """Log in the form of the settings; Celery then leaves logging alone."""
    configure_logging(get_settings().log_format)


@signals.worker_init.connect
def set_up_tracing(**_: Any) -> None:
    """Celery's instrumentation continues the trace of the request that asks for a prediction."""
    start_tracing("predictor", get_settings())


@signals.worker_init.connect
def lower_priority(**_: Any) -> None:
    """Give training processes priority, and log less."""
    os.nice(NICENESS)
    # Celery's two lines for each request, one with the whole response, would soon fill a disk.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


@signals.worker_ready.connect
def start_announcing(**_: Any) -> None:
    """Import TensorFlow, then announce every few seconds that this predictor is ready."""

    def announce() -> None:
        get_model_cache()
        log.info("ready")
        while True:
            try:
                app.backend.client.set(READY, "1", ex=_READY_SECONDS)
            except RedisError as error:
                log.warning("could not announce this predictor: %s", error)
            time.sleep(ANNOUNCE_SECONDS)

    Thread(target=announce, name="announce", daemon=True).start()
