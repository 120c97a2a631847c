"""Which requests are retried, and when. docs/decisions/0021-retries-and-yaml.md.

Requests are retried if they cannot have been executed or are idempotent: reading, and creating with an
`Idempotency-Key`.
"""

import random

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from regbench.errors import ProblemError, Unreachable

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
# Jitter, so that clients that were refused together do not come back together.
_JITTER_SECONDS = 0.25
# 409: the same request, sent before, is still in progress.
_TRANSIENT = frozenset({409, 429, 502, 503, 504})
_NOT_EXECUTED = frozenset({429, 503})
_backoff = wait_random_exponential(multiplier=FIRST_SECONDS, max=LONGEST_SECONDS)


def make_retrying(retries: int, *, idempotent: bool) -> Retrying:
    """An object that retries a function up to `retries` times while it raises transient errors.

    Waits a random time up to 0.5 s, 1 s, 2 s, ... (30 at most), or the time in `Retry-After`; if that is
    over 30 s, the error is raised immediately. `idempotent`: whether it may be executed twice.
    """

    def compute_wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, ProblemError) or error.retry_after is None:
            return _backoff(state)
        return error.retry_after + random.uniform(0, _JITTER_SECONDS)  # noqa: S311 (no secret)

    def is_retryable(error: BaseException) -> bool:
        if isinstance(error, Unreachable):
            return error.transient and (idempotent or not error.sent)
        if not isinstance(error, ProblemError) or (error.status == 409 and error.retry_after is None):
            return False
        statuses = _TRANSIENT if idempotent else _NOT_EXECUTED
        return error.status in statuses and (error.retry_after or 0.0) <= LONGEST_SECONDS

    return Retrying(
        stop=stop_after_attempt(1 + retries),
        wait=compute_wait,
        retry=retry_if_exception(is_retryable),
        reraise=True,
    )
