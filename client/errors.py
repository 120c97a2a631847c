"""What can go wrong at the client's end, as one tree. The command line maps it to exit codes (client/cli.py).

ClientError
├── ProblemError   the service answered and said no (4xx) or could not (5xx)
├── Unreachable    nothing, or something that is not Regbench, answers at the address
└── StackError     a part of the embedded stack would not start or has died
"""

from models.errors import FieldError


class ClientError(Exception):
    """The root. `message` is one sentence for a person; `hint`, if not empty, says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Unreachable(ClientError):
    """Nothing, or something that is not Regbench, answers at the address."""


class StackError(ClientError):
    """A part of the embedded stack would not start or has died."""


class ProblemError(ClientError):
    """The service answered with a problem document (RFC 9457)."""

    def __init__(
        self, *, status: int, title: str, detail: str, errors: list[FieldError], request_id: str | None
    ) -> None:
        faults = [f"{error.pointer}: {error.detail}" for error in errors]
        # The detail of an invalid document often repeats its one fault.
        said = [each for each in faults if each not in detail]
        super().__init__(f"{title}: {detail}" if detail else title, "\n".join(said))
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        self.request_id = request_id

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in {429, 502, 503, 504}
