"""The one Celery task. TensorFlow is imported inside it, in the child process: it does not survive a fork."""

import logging
from threading import Lock
from typing import TYPE_CHECKING

from celery import shared_task

from models.dispatch import TRAIN_JOB
from models.settings import get_settings
from worker.optional_imports import skip_optional_imports

if TYPE_CHECKING:
    from worker.runner import Runner


log = logging.getLogger(__name__)

_runners: list["Runner"] = []
_runner_lock = Lock()


def get_runner() -> "Runner":
    """This process's runner; the first call imports TensorFlow, which takes seconds."""
    with _runner_lock:  # the warm-up and the first job may both be first
        if not _runners:
            with skip_optional_imports():
                from worker.runner import Runner  # noqa: PLC0415 (see the module's docstring)

            _runners.append(Runner(get_settings()))
        return _runners[0]


@shared_task(name=TRAIN_JOB)
def train_job(job_id: str) -> None:
    """Train the next job in the queue, not necessarily this one: each queued job has a message of its own."""
    log.debug("message for job %s", job_id)
    get_runner().run_next()
