"""Which workers understand a specification: in a rolling upgrade those of the former release claim, too."""

from collections.abc import Callable

from models.spec import JobSpec

# A release whose specifications have a field that was not there adds an entry, and with it a format: a worker
# that does not know the field would fail the job. Format 1 is all that is in none of them.
_USES: dict[int, Callable[[JobSpec], bool]] = {
    2: lambda spec: not spec.evaluation.test,
    3: lambda spec: spec.evaluation.memorization,
}

NEWEST_FORMAT = max(_USES)
"""The newest format that this release trains. Workers leave jobs of a newer one in the queue."""


def get_format(spec: JobSpec) -> int:
    """The oldest format that has all that the specification uses."""
    return max((number for number, is_used in _USES.items() if is_used(spec)), default=1)
