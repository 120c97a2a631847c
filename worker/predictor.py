"""The Celery application that answers for trained models: `celery -A worker.predictor:app worker`.

A process that trains nothing, so that models stay loaded and no prediction waits for a training. Where the
processor is short, those that train go before it.
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
from redis.exceptions import RedisError

from models.errors import ArtifactCorrupted, NotFound
from models.predictions import DAMAGED, FAILED, GONE, PREDICT, READY, REPLY_SECONDS, build_predictor_settings
from models.settings import Settings, get_settings
from models.spec import PIXELS
from worker.kombu_patch import patch_kombu

if TYPE_CHECKING:
    from worker.model_cache import ModelCache

log = logging.getLogger(__name__)

NICENESS = 10
ANNOUNCE_SECONDS = 2.0
_BELIEVED_SECONDS = 10

_one_at_a_time = Lock()


def make_app(settings: Settings) -> Celery:
    """Celery as predictions need it."""
    patch_kombu()
    app = Celery("regbench-predictor", set_as_current=False)
    app.conf.update(build_predictor_settings(settings), worker_pool="solo", worker_concurrency=1)
    return app


app = make_app(get_settings())


def get_model_cache() -> "ModelCache":
    """This process's models; the first call takes TensorFlow's import, some seconds."""
    with _one_at_a_time:  # the warm-up and the first question may both be first
        return _make_models()


@lru_cache(maxsize=1)
def _make_models() -> "ModelCache":
    from worker.model_cache import ModelCache  # noqa: PLC0415 (who only asks after this process needs no TensorFlow)

    return ModelCache(get_settings())


@app.task(name=PREDICT)
def predict(job_ids: list[str], images: str, reply_key: str) -> None:
    """Answer with each job's probabilities (n, 10) for images (n, 784), base64 of float32; or an error."""
    answer: dict[str, Any]
    try:
        pixels = np.frombuffer(base64.b64decode(images), "<f4").reshape(-1, PIXELS)
        answer = {"probabilities": [get_model_cache().predict(job_id, pixels).tolist() for job_id in job_ids]}
    except ArtifactCorrupted as error:
        log.error("not loaded: %s", error.message)
        answer = {"fault": DAMAGED, "detail": f"{error.message} It was not loaded; train the job again."}
    except NotFound as error:
        answer = {"fault": GONE, "detail": error.message}
    except Exception as error:
        log.exception("a prediction failed")
        cause = type(error).__name__
        answer = {"fault": FAILED, "detail": f"The predictor failed with {cause}; its log has the cause."}
    with app.backend.client.pipeline() as pipeline:
        pipeline.rpush(reply_key, json.dumps(answer)).expire(reply_key, REPLY_SECONDS).execute()


@signals.worker_init.connect
def give_way(**_: Any) -> None:
    """Leave the processor to those that train, where they want it."""
    os.nice(NICENESS)
    # Two lines for each question, one with the whole answer, would soon fill a disk.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


@signals.worker_ready.connect
def start_announcing(**_: Any) -> None:
    """Import TensorFlow, then say again and again that somebody answers."""
    Thread(target=_announce, name="announce", daemon=True).start()


def _announce() -> None:
    get_model_cache()
    log.info("ready")
    while True:
        try:
            app.backend.client.set(READY, "1", ex=_BELIEVED_SECONDS)
        except RedisError as error:
            log.warning("could not announce this predictor: %s", error)
        time.sleep(ANNOUNCE_SECONDS)
