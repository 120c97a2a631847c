"""Dispatch messages to workers. A message may be lost or duplicated: the job row is the queue."""

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from models.errors import ServiceUnavailable
from models.settings import Settings
from models.store import queue
from models.store.database import Database

TRAIN_JOB = "regbench.train_job"
QUEUE = "regbench"

log = logging.getLogger(__name__)


def build_celery_settings(settings: Settings) -> dict[str, Any]:
    """Celery's configuration, the same at both ends.

    The job row with its lease is what makes a job survive, so Celery acknowledges at once and keeps no
    results: Redis's visibility timeout can then never run a long job twice.
    """
    return {
        "broker_url": settings.resolved_broker_url,
        "task_default_queue": QUEUE,
        "task_acks_late": False,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
    }


# A publisher that cannot reach the broker gives up within about a second. A worker, which waits on its
# socket for the next job, must not.
_PUBLISHER_SETTINGS = {
    "broker_transport_options": {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "max_retries": 1},
    "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.1},
}


def make_celery(name: str, configuration: dict[str, Any]) -> Any:
    """A Celery application for a process that is not a worker. Thread-safe."""
    # `celery` replaces its own module while it is imported, and a second thread would see it unfinished.
    from celery.app import Celery  # noqa: PLC0415 (0.2 s and 20 MB that a reader of models should not pay)

    app = Celery(name, set_as_current=False)
    app.conf.update(configuration)
    return app


@lru_cache(maxsize=4)
def get_publisher(settings: Settings) -> Any:
    """The Celery application with which this process sends messages to workers."""
    return make_celery("regbench", build_celery_settings(settings) | _PUBLISHER_SETTINGS)


def notify_workers(
    database: Database, settings: Settings, job_ids: Sequence[str], *, only_if_queue_is_empty: bool = False
) -> None:
    """Send a message for each of these jobs. An unreachable broker is logged: the sweeper sends again.

    `only_if_queue_is_empty`: send nothing while messages wait in the broker; any message starts any job.
    """
    app = get_publisher(settings)
    from kombu.exceptions import KombuError  # noqa: PLC0415 (comes with Celery, see above)

    try:
        with app.producer_or_acquire() as producer:
            if only_if_queue_is_empty and producer.channel.queue_declare(queue=QUEUE).message_count:
                return
            for job_id in job_ids:
                app.send_task(TRAIN_JOB, kwargs={"job_id": job_id}, queue=QUEUE, producer=producer)
    except (OSError, KombuError, *app.connection().connection_errors) as error:
        log.warning("the broker cannot be reached, %d job(s) wait in the database: %s", len(job_ids), error)
        return
    try:
        with database.write() as session:
            queue.mark_dispatched(session, list(job_ids))
    except ServiceUnavailable as error:
        log.warning("could not record that messages were sent: %s", error)
