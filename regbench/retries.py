"""Which requests are sent again, and when. docs/decisions/0021-retries-and-yaml.md.

Sent again is what cannot have been carried out, and what does no harm twice: reading, and creating with an
`Idempotency-Key`.
"""

import random

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from regbench.errors import ProblemError, Unreachable

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
# So that clients that were refused together do not come back together.
_SPREAD_SECONDS = 0.25
# 409: the same request, sent before, is still being carried out.
_PASSING = frozenset({409, 429, 502, 503, 504})
_NOT_CARRIED_OUT = frozenset({429, 503})


def sent_again(retries: int, *, harmless: bool) -> Retrying:
    """What calls a function up to `retries` times more while it raises what may pass.

    Waits a random time up to 0.5 s, 1 s, 2 s, ... (30 at most), or as long as `Retry-After` asked for;
    where that is over 30 s, the error comes at once. `harmless`: whether it may be carried out twice.
    """
    return Retrying(
        stop=stop_after_attempt(1 + retries),
        wait=_pause,
        retry=retry_if_exception(lambda error: _may_pass(error, harmless=harmless)),
        reraise=True,
    )


_growing = wait_random_exponential(multiplier=FIRST_SECONDS, max=LONGEST_SECONDS)


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, ProblemError) else None
    if asked is None:
        return _growing(state)
    return asked + random.uniform(0, _SPREAD_SECONDS)  # noqa: S311 (no secret)


def _may_pass(error: BaseException, *, harmless: bool) -> bool:
    if isinstance(error, Unreachable):
        return error.passing and (harmless or not error.sent)
    if not isinstance(error, ProblemError):
        return False
    if error.status == 409 and error.retry_after is None:
        return False
    return error.status in (_PASSING if harmless else _NOT_CARRIED_OUT) and _worth_waiting(error)


def _worth_waiting(error: ProblemError) -> bool:
    return error.retry_after is None or error.retry_after <= LONGEST_SECONDS
