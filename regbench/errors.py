"""What can go wrong at the client's end, as one tree; regbench/cli/main.py maps it to exit codes.

ClientError
├── ProblemError   the service refused (4xx) or failed (5xx)
├── Unreachable    nothing, or something that is not Regbench, answers at the address
├── WaitTimeout    what was waited for has not ended in time
└── StackError     a part of the embedded stack would not start or has died
    └── CommandRefused   this machine has no installation, or it refuses the command
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One invalid field of a document: a JSON pointer (RFC 6901) to it, and what is wrong with it."""

    pointer: str
    detail: str


class ClientError(Exception):
    """The root. `message` is one sentence for a person; `hint`, if not empty, how to fix it.

    `request_id` is that of the request that failed, or that was the last, as the service's log has it; None
    where there was none.
    """

    def __init__(self, message: str, hint: str = "", *, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.request_id = request_id


class Unreachable(ClientError):
    """Nothing, or something that is not Regbench, answers at the address.

    `sent`: whether the request may have been executed nevertheless. `transient`: whether another try may
    succeed.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        sent: bool = True,
        transient: bool = False,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, hint, request_id=request_id)
        self.sent = sent
        self.transient = transient


class WaitTimeout(ClientError, TimeoutError):
    """What was waited for has not ended in time; it continues."""


class StackError(ClientError):
    """A part of the embedded stack would not start or has died."""


class CommandRefused(StackError):
    """This machine has no installation, or it refuses the command; a retry does not help."""


class ProblemError(ClientError):
    """The service answered with a problem document (RFC 9457).

    `code` is stable and for programs (`over_budget`), "" where the answer was no problem document;
    `retry_after` the seconds after which the service thinks that the same request may succeed.
    """

    def __init__(
        self,
        *,
        status: int,
        title: str,
        detail: str,
        errors: list[FieldError],
        request_id: str | None,
        code: str = "",
        retry_after: float | None = None,
    ) -> None:
        lines = [f"{error.pointer}: {error.detail}" for error in errors]
        # The detail of an invalid document often repeats its only error.
        hint = "\n".join(line for line in lines if line not in detail)
        super().__init__(f"{title}: {detail}" if detail else title, hint, request_id=request_id)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        self.code = code
        self.retry_after = retry_after

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in {429, 502, 503, 504}
