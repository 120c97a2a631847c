"""The Celery application: `celery -A worker.app worker`."""

import logging
import os
import time
from threading import Thread
from typing import Any

from celery import Celery, signals

from migrations import exit_if_refused
from models.dispatch import build_celery_settings
from models.errors import ServiceUnavailable
from models.logs import configure_logging
from models.settings import Settings, get_settings
from models.store import queue
from models.store.workers import forget_worker
from models.tracing import flush_traces, start_tracing
from worker import tasks
from worker.fork_safety import fork_safe_database
from worker.kombu_patch import patch_kombu
from worker.lease import get_worker_name
from worker.sweeper import Sweeper
from worker.webhook_sender import WebhookSender

log = logging.getLogger(__name__)

_RELEASE_SECONDS = 1.0


def make_app(settings: Settings) -> Celery:
    """Celery as Regbench needs it; docs/decisions/0007-job-row-is-the-queue.md."""
    patch_kombu()
    app = Celery("regbench", include=["worker.tasks"])
    app.conf.update(
        build_celery_settings(settings),
        worker_pool="prefork",
        worker_concurrency=settings.worker_concurrency or os.cpu_count(),
        # XLA gives back no memory of the programs that it has compiled; Celery counts in KiB.
        worker_max_memory_per_child=settings.training_memory_mb * 1024,
    )
    return app


app = make_app(get_settings())
sweeper = Sweeper(get_settings())
webhook_sender = WebhookSender(get_settings())


@signals.setup_logging.connect
def set_up_logging(**_: Any) -> None:
    """Log in the form of the settings; Celery then leaves logging alone."""
    configure_logging(get_settings().log_format)


@signals.worker_init.connect
def check_database(**_: Any) -> None:
    """Train nothing over a database of a newer release."""
    exit_if_refused(get_settings())


@signals.worker_init.connect
def set_up_tracing(**_: Any) -> None:
    """Before the forks, which inherit it: the first message may come before one has imported TensorFlow."""
    start_tracing("worker", get_settings())


@signals.worker_process_shutdown.connect
def export_last_spans(**_: Any) -> None:
    """A process of the pool ends without Python's own functions at exit."""
    flush_traces()


@signals.worker_process_init.connect
def warm_up(**_: Any) -> None:
    """Begin TensorFlow's import beside Celery's start: a child that takes over 4 s to start is killed."""
    Thread(target=tasks.get_runner, name="warm-up", daemon=True).start()


@signals.worker_shutting_down.connect
def release_jobs(**_: Any) -> None:
    """On SIGTERM: have each job stop at its next chunk and go back into the queue, for another worker."""
    sweeper.stop()
    webhook_sender.stop()

    def release() -> None:
        # Repeatedly until the worker has ended: a process that is still starting may claim a job after the
        # first time, and an owner who pauses and resumes a job withdraws the request.
        while True:
            try:
                with fork_safe_database(get_settings()) as database, database.write() as session:
                    count = queue.release_all(session, get_worker_name(os.getpid()))
                    forget_worker(session, get_worker_name(os.getpid()))
            except ServiceUnavailable as error:
                log.warning("could not release this worker's jobs yet: %s", error.message)
            else:
                if count:
                    log.info("%d job(s) go back into the queue", count)
            time.sleep(_RELEASE_SECONDS)

    # In a thread, because an unreachable database must not keep Celery from stopping what does not need it.
    Thread(target=release, name="release", daemon=True).start()


@signals.worker_ready.connect
def start_background_threads(**_: Any) -> None:
    """Start the sweeper and the webhook sender."""
    sweeper.start()
    webhook_sender.start()
