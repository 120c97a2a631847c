"""How the API asks for a model's answers: a Celery task on a queue of its own, and its result.

The process that answers is worker/predictor.py. Nothing here is kept: a question that nobody answers in
time is forgotten by both sides.
"""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal

from models.dispatch import build_celery_settings, make_celery
from models.errors import Conflict, NotFound, PredictorUnavailable, RegbenchError
from models.settings import Settings

PREDICT = "regbench.predict"
QUEUE = "predictions"
READY = "regbench.predictor"
"""Key in Redis that is there while somebody answers."""
MOST_IMAGES = 256
MOST_JOBS = 10

_MOST_WAITING = 32
"""Questions in the queue above which no more are asked: each may take 1.4 MB of Redis's memory."""
_START = "python -m celery -A worker.predictor:app worker"

Choice = Literal["auto", "true", "false"]
"""What is done to an image before it is asked about: decided by its looks, or as told."""
Probabilities = list[list[float]]
"""(n, 10): of each image, of each class."""

# What the predictor answers instead of probabilities, and what that means to who asked.
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
        # Of its own, so that who asks for a live worker is not answered by a process that trains nothing.
        "control_exchange": QUEUE,
    }


def predict(settings: Settings, job_ids: Sequence[str], images: bytes) -> list[Probabilities]:
    """What the models of succeeded jobs make of images (n, 784): float32 from 0 to 1, little-endian.

    Blocks for up to `prediction_seconds`. The caller has checked that it may see the jobs.

    Raises:
        PredictorUnavailable: nobody answers, or not in time.
        NotFound: a job, or its model, is no longer there.
        Conflict: a model's file is not the one that was kept, so it was not loaded.
    """
    app = _celery(settings)
    from celery.exceptions import TaskRevokedError  # noqa: PLC0415 (after make_celery, which may import it)
    from celery.exceptions import TimeoutError as NoAnswer  # noqa: PLC0415 (the same)

    with _reached(app):
        _check_somebody_answers(app)
        asked = app.send_task(
            PREDICT,
            kwargs={"job_ids": list(job_ids), "images": base64.b64encode(images).decode()},
            queue=QUEUE,
            expires=settings.prediction_seconds,
        )
        try:
            answer = asked.get(timeout=settings.prediction_seconds, propagate=False)
        except NoAnswer:
            answer = NoAnswer()
        finally:
            # Else Redis keeps the answer, and its channel stays subscribed until garbage is collected.
            asked.forget()
    # Revoked: the predictor came to the question, and found that it had expired.
    if isinstance(answer, (NoAnswer, TaskRevokedError)):
        raise PredictorUnavailable(
            f"The predictor did not answer within {settings.prediction_seconds:g} s; it may be busy."
        )
    if isinstance(answer, Exception):
        raise RegbenchError(f"The predictor failed with {type(answer).__name__}; its log has the cause.")
    if "fault" in answer:
        raise _FAULTS[answer["fault"]](answer["detail"])
    found: list[Probabilities] = answer["probabilities"]
    return found


def _check_somebody_answers(app: Any) -> None:
    if not app.backend.client.exists(READY):
        raise PredictorUnavailable(
            "No process that computes predictions is ready. If the service has just started, try again in "
            f"a few seconds; else start one: {_START} (`regbench up` and docker-compose.yml do)."
        )
    with app.producer_or_acquire() as producer:
        waiting = producer.channel.queue_declare(queue=QUEUE).message_count
    if waiting >= _MOST_WAITING:
        raise PredictorUnavailable(f"{waiting} questions wait for the predictor already.")


@contextmanager
def _reached(app: Any) -> Iterator[None]:
    from kombu.exceptions import KombuError  # noqa: PLC0415 (comes with Celery)
    from redis.exceptions import RedisError  # noqa: PLC0415 (the same)

    try:
        yield
    except (OSError, KombuError, RedisError) as error:
        raise PredictorUnavailable("The broker, through which predictors are asked, is away.") from error


@lru_cache(maxsize=4)
def _celery(settings: Settings) -> Any:
    timeouts = {
        "broker_transport_options": {"socket_timeout": 2.0, "socket_connect_timeout": 1.0, "max_retries": 1},
        "redis_socket_connect_timeout": 1.0,
        "redis_socket_timeout": 2.0,
    }
    return make_celery("regbench-predictions", build_predictor_settings(settings) | timeouts)
