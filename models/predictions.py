"""Remote calls from the API to the predictor: a Celery task on its own queue, a list in Redis for its answer.

The other end is worker/predictor.py. Requests are not stored: one that is not answered in time expires.

Celery's own results are not used: they need a subscription for each request, and some of them stayed. Threads
that use `app.backend` first at the same time each make one, and what was subscribed to on the one that is
overwritten is never unsubscribed from; and redis-py restores old subscriptions when it reconnects.
"""

import base64
import json
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal
from uuid import uuid4

from models.dispatch import build_celery_settings, make_celery
from models.errors import Conflict, NotFound, PredictorUnavailable, RegbenchError
from models.settings import Settings

PREDICT = "regbench.predict"
QUEUE = "predictions"
READY = "regbench.predictor"
"""Key that exists in Redis while a predictor is ready."""
REPLIES = "regbench.prediction:"
"""Prefix of the lists in Redis on which the predictor answers, one for each request."""
REPLY_SECONDS = 60
"""How long a reply stays in Redis after its request has timed out."""
MOST_IMAGES = 256
MOST_JOBS = 10
MOST_DROPOUT_SAMPLES = 100
MOST_PASSES = MOST_IMAGES * MOST_JOBS
"""Of an image through a model in one request: with dropout samples, no more than without."""

_MOST_WAITING = 32
"""Requests in the queue above which no more are sent: each may take 1.4 MB of Redis's memory."""
_START = "python -m celery -A worker.predictor:app worker"

Choice = Literal["auto", "true", "false"]
"""Whether an image is transformed before prediction: detected from the image, or as given."""
Probabilities = list[list[float]]
"""(n, classes): of each image, of each class."""
Spread = dict[str, Any]
"""One image's `samples`, with their `sd`, `predictive_entropy` and `mutual_information`."""

# Errors that the predictor returns in place of probabilities, and the exceptions they become.
GONE, DAMAGED, AWAY, FAILED = "gone", "damaged", "away", "failed"
_FAULTS: dict[str, type[RegbenchError]] = {
    GONE: NotFound,
    DAMAGED: Conflict,
    AWAY: PredictorUnavailable,
    FAILED: RegbenchError,
}


def build_predictor_settings(settings: Settings) -> dict[str, Any]:
    """Celery's configuration for predictions, the same at both ends."""
    return build_celery_settings(settings) | {
        "task_default_queue": QUEUE,
        # Only for its client of Redis, which all threads share.
        "result_backend": settings.resolved_broker_url,
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
    probabilities: list[Probabilities] = _request(settings, job_ids, images)["probabilities"]
    return probabilities


def sample_dropout(
    settings: Settings, job_ids: Sequence[str], images: bytes, samples: int
) -> tuple[list[Probabilities], list[list[Spread]]]:
    """As `predict`, with dropout active: means over the samples, and each image's spread, for each job."""
    answer = _request(settings, job_ids, images, dropout_samples=samples)
    return answer["probabilities"], answer["spreads"]


def _request(settings: Settings, job_ids: Sequence[str], images: bytes, **options: int) -> dict[str, Any]:
    app = _get_celery(settings)
    from kombu.exceptions import KombuError  # noqa: PLC0415 (comes with Celery)
    from redis.exceptions import RedisError  # noqa: PLC0415 (the same)

    reply_key = f"{REPLIES}{uuid4()}"
    reply = None
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
        deadline = time.monotonic() + settings.prediction_seconds
        app.send_task(
            PREDICT,
            kwargs={
                "job_ids": list(job_ids),
                "images": base64.b64encode(images).decode(),
                "reply_key": reply_key,
                # Only what is asked for, as a predictor of an earlier release knows no options.
                **options,
            },
            queue=QUEUE,
            expires=settings.prediction_seconds,
            ignore_result=True,  # else Celery subscribes to it
        )
        while reply is None and (remaining := deadline - time.monotonic()) > 0:
            # Shorter than the socket's timeout, and never rounded to 0, which would wait without end.
            reply = app.backend.client.blpop([reply_key], timeout=min(max(remaining, 0.01), 1.0))
    except (OSError, KombuError, RedisError) as error:
        raise PredictorUnavailable("The broker, which predictions need, cannot be reached.") from error
    if reply is None:
        raise PredictorUnavailable(
            f"The predictor did not answer within {settings.prediction_seconds:g} s; it may be busy."
        )
    answer: dict[str, Any] = json.loads(reply[1])
    if "fault" in answer:
        raise _FAULTS[answer["fault"]](answer["detail"])
    return answer


@lru_cache(maxsize=4)
def _get_celery(settings: Settings) -> Any:
    timeouts = {
        "broker_transport_options": {"socket_timeout": 2.0, "socket_connect_timeout": 1.0, "max_retries": 1},
        "redis_socket_connect_timeout": 1.0,
        "redis_socket_timeout": 2.0,
    }
    return make_celery("regbench-predictions", build_predictor_settings(settings) | timeouts)
