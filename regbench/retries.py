"""Which requests are retried, and when. docs/decisions/0021-retries-and-yaml.md.

Retried is what cannot have been carried out, and what is idempotent: reading, and creating with an
`Idempotency-Key`.
"""

import random

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from regbench.errors import ProblemError, Unreachable

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
# Jitter, so that clients that were refused together do not come back together.
_JITTER_SECONDS = 0.25
# 409: the same request, sent before, is still being carried out.
_TRANSIENT = frozenset({409, 429, 502, 503, 504})
_NOT_CARRIED_OUT = frozenset({429, 503})
_backoff = wait_random_exponential(multiplier=FIRST_SECONDS, max=LONGEST_SECONDS)


def make_retrying(retries: int, *, idempotent: bool) -> Retrying:
    """What calls a function up to `retries` times more while it raises what is transient.

    Waits a random time up to 0.5 s, 1 s, 2 s, ... (30 at most), or as long as `Retry-After` asked for;
    where that is over 30 s, the error comes at once. `idempotent`: whether it may be carried out twice.
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
        statuses = _TRANSIENT if idempotent else _NOT_CARRIED_OUT
        return error.status in statuses and (error.retry_after or 0.0) <= LONGEST_SECONDS

    return Retrying(
        stop=stop_after_attempt(1 + retries),
        wait=compute_wait,
        retry=retry_if_exception(is_retryable),
        reraise=True,
    )
