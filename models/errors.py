"""Everything that can go wrong in Regbench, as one tree. HTTP maps it in one table (api/http/problems.py).

RegbenchError
├── NotFound                 a job, experiment, technique, preset or artifact that is not there
│   └── ArtifactCorrupted    a stored file does not have the SHA-256 recorded for it
├── Conflict                 the state of a job forbids the requested action
├── InvalidSpec              a specification that cannot be run; names the field
│   ├── DatasetUnavailable   the dataset is not available on this machine
│   └── BudgetExceeded       the job would cost more than this installation allows
├── QuotaExceeded            the owner's limit of waiting jobs, or of operations a day, is reached
├── ServiceUnavailable       the database cannot be reached
│   ├── ArtifactsUnavailable the store of models and checkpoints cannot be reached; also an OSError
│   └── PredictorUnavailable no predictor answers, or not in time
├── TrainingFailed           training ended without a usable model
└── LeaseLost                another worker holds the job; this worker's writes are rejected
"""

from dataclasses import dataclass


class RegbenchError(Exception):
    """The root. `message` is one sentence for a person; `code` is stable, for programs."""

    code = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(RegbenchError):
    """A job, experiment, technique, preset or artifact that is not there."""

    code = "not_found"


class ArtifactCorrupted(NotFound):
    """A stored file does not have the SHA-256 recorded for it and must not be used."""


class Conflict(RegbenchError):
    """The state of a job forbids the requested action."""

    code = "conflict"


@dataclass(frozen=True)
class FieldError:
    """One fault of a document: a JSON pointer (RFC 6901) to the field, and what is wrong with it."""

    pointer: str
    detail: str


class InvalidSpec(RegbenchError):
    """A specification that cannot be run. `errors` names each field at fault."""

    code = "invalid_spec"

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(f"{error.pointer}: {error.detail}" for error in errors))
        self.errors = errors


class DatasetUnavailable(InvalidSpec):
    """The dataset is not available on this machine."""

    code = "dataset_unavailable"


class BudgetExceeded(InvalidSpec):
    """The job would cost more than this installation allows."""

    code = "over_budget"


class QuotaExceeded(RegbenchError):
    """The owner's limit of waiting jobs, or of operations a day, is reached; a later request may succeed."""

    code = "over_quota"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which there may be room."""


class ServiceUnavailable(RegbenchError):
    """The database cannot be reached; the same request may succeed later."""

    code = "service_unavailable"


class ArtifactsUnavailable(ServiceUnavailable, OSError):
    """The store of models and checkpoints cannot be reached; the same may succeed later."""


class PredictorUnavailable(ServiceUnavailable):
    """No predictor answers, or not in time; the same request may succeed later."""

    code = "predictor_unavailable"


class TrainingFailed(RegbenchError):
    """Training ended without a usable model. `retryable` says whether the same spec could succeed."""

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class LeaseLost(RegbenchError):
    """Another worker holds the job, or it has ended; this worker's writes are rejected."""

    code = "lease_lost"
