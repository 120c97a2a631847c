"""The one Celery task. TensorFlow is imported inside it, in the child process: it does not survive a fork."""

import logging
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from celery import shared_task

from models.dispatch import TRAIN_JOB
from models.settings import get_settings

if TYPE_CHECKING:
    from worker.runner import Runner


log = logging.getLogger(__name__)

_one_at_a_time = Lock()


def get_runner() -> "Runner":
    """This process's runner; the first call takes TensorFlow's import, some seconds."""
    with _one_at_a_time:  # the warm-up and the first job may both be first
        return _make_runner()


@lru_cache(maxsize=1)
def _make_runner() -> "Runner":
    from worker.runner import Runner  # noqa: PLC0415 (see the module's docstring)

    return Runner(get_settings())


@shared_task(name=TRAIN_JOB)
def train_job(job_id: str) -> None:
    """Train the job that is next. Which one rang does not matter: every waiting job has a bell of its own."""
    log.debug("job %s rang", job_id)
    get_runner().run_next()
