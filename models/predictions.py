"""Remote procedure call from the API to the predictor: a Celery task on its own queue, and its result.

The other end is worker/predictor.py. Requests are not stored: one that is not answered in time expires.
"""

import base64
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from models.dispatch import build_celery_settings, make_celery
from models.errors import Conflict, NotFound, PredictorUnavailable, RegbenchError
from models.settings import Settings

PREDICT = "regbench.predict"
QUEUE = "predictions"
READY = "regbench.predictor"
"""Key that exists in Redis while a predictor is ready."""
MOST_IMAGES = 256
MOST_JOBS = 10

_MOST_WAITING = 32
"""Requests in the queue above which no more are sent: each may take 1.4 MB of Redis's memory."""
_START = "python -m celery -A worker.predictor:app worker"

Choice = Literal["auto", "true", "false"]
"""Whether an image is transformed before prediction: detected from the image, or as given."""
Probabilities = list[list[float]]
"""(n, 10): of each image, of each class."""

# Errors that the predictor returns in place of probabilities, and the exceptions they become.
GONE, DAMAGED = "gone", "damaged"
_FAULTS: dict[str, type[RegbenchError]] = {GONE: NotFound, DAMAGED: Conflict}


def build_predictor_settings(settings: Settings) -> dict[str, Any]:
    """Celery's configuration for predictions, the same at both ends."""
    return build_celery_settings(settings) | {
        "task_default_queue": QUEUE,
        "task_ignore_result": False,
        "result_backend": settings.resolved_broker_url,
        "result_expires": 60,
        "result_backend_thread_safe": True,
        # Separate, so that a ping for live workers is not answered by a process that trains nothing.
        "control_exchange": QUEUE,
    }


def predict(settings: Settings, job_ids: Sequence[str], images: bytes) -> list[Probabilities]:
    """What the models of succeeded jobs make of images (n, 784): float32 from 0 to 1, little-endian.

    Blocks for up to `prediction_seconds`. The caller has checked that it may see the jobs.

    Raises:
        PredictorUnavailable: no predictor answers in time.
        NotFound: a job, or its model, is no longer there.
        Conflict: a model's file is corrupted.
    """
    app = _get_celery(settings)
    from celery.exceptions import TaskRevokedError  # noqa: PLC0415 (after make_celery, which may import it)
    from celery.exceptions import TimeoutError as NoAnswer  # noqa: PLC0415 (the same)
    from kombu.exceptions import KombuError  # noqa: PLC0415 (the same)
    from redis.exceptions import RedisError  # noqa: PLC0415 (the same)

    try:
        if not app.backend.client.exists(READY):
            raise PredictorUnavailable(
                "No process that computes predictions is ready. If the service has just started, try again "
                f"in a few seconds; else start one: {_START} (`regbench up` and docker-compose.yml do)."
            )
        with app.producer_or_acquire() as producer:
            waiting = producer.channel.queue_declare(queue=QUEUE).message_count
        if waiting >= _MOST_WAITING:
            raise PredictorUnavailable(f"{waiting} requests already wait for the predictor.")
        result = app.send_task(
            PREDICT,
            kwargs={"job_ids": list(job_ids), "images": base64.b64encode(images).decode()},
            queue=QUEUE,
            expires=settings.prediction_seconds,
        )
        try:
            answer = result.get(timeout=settings.prediction_seconds, propagate=False)
        finally:
            # Otherwise the result stays in Redis, and its channel subscribed until garbage collection.
            result.forget()
    except NoAnswer:
        answer = None
    except (OSError, KombuError, RedisError) as error:
        raise PredictorUnavailable("The broker, which predictions need, cannot be reached.") from error
    # Revoked: the predictor received the request after it had expired.
    if answer is None or isinstance(answer, TaskRevokedError):
        raise PredictorUnavailable(
            f"The predictor did not answer within {settings.prediction_seconds:g} s; it may be busy."
        )
    if isinstance(answer, Exception):
        raise RegbenchError(f"The predictor failed with {type(answer).__name__}; its log has the cause.")
    if "fault" in answer:
        raise _FAULTS[answer["fault"]](answer["detail"])
    probabilities: list[Probabilities] = answer["probabilities"]
    return probabilities


@lru_cache(maxsize=4)
def _get_celery(settings: Settings) -> Any:
    timeouts = {
        "broker_transport_options": {"socket_timeout": 2.0, "socket_connect_timeout": 1.0, "max_retries": 1},
        "redis_socket_connect_timeout": 1.0,
        "redis_socket_timeout": 2.0,
    }
    return make_celery("regbench-predictions", build_predictor_settings(settings) | timeouts)
