"""A thread of the worker's parent process that does the same thing every few seconds."""

import logging
from abc import ABC, abstractmethod
from threading import Event, Thread

log = logging.getLogger(__name__)


class PeriodicThread(ABC):
    """Calls `run_once` every `seconds`, until it is stopped."""

    def __init__(self, name: str, seconds: float) -> None:
        self._seconds = seconds
        self.stopped = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def run_once(self) -> object:
        """Do what is due; an exception is logged and ends only this call."""

    def start(self) -> None:
        """Start, with the first call at once."""
        self._thread.start()

    def stop(self) -> None:
        """Make no further call."""
        self.stopped.set()

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                self.run_once()
            except Exception:
                log.exception("%s failed", self._thread.name)
            self.stopped.wait(self._seconds)
