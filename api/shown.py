"""Jobs as they were shown last: who polls a job sees, most of the time, what was seen before."""

from collections import OrderedDict
from threading import Lock

_MOST = 1_000


class Shown:
    """The answers to the latest requests for jobs, by id, each with the ETag that it belongs to."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._lock = Lock()

    def get(self, job_id: str, tag: str) -> bytes | None:
        """What was answered; None if the job has changed since, or was not asked for lately."""
        with self._lock:
            kept = self._answers.get(job_id)
            if kept is None or kept[0] != tag:
                return None
            self._answers.move_to_end(job_id)
            return kept[1]

    def keep(self, job_id: str, tag: str, answer: bytes) -> None:
        """Keep an answer, and forget the one that was not asked for longest."""
        with self._lock:
            self._answers[job_id] = tag, answer
            self._answers.move_to_end(job_id)
            if len(self._answers) > _MOST:
                self._answers.popitem(last=False)
