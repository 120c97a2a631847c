"""What a shell may complete an argument to. A service that does not respond immediately is ignored."""

from collections.abc import Callable, Iterable
from itertools import islice

from models.dataset_cards import DATASETS
from models.techniques import CATALOGUE
from regbench.client import Regbench
from regbench.errors import ClientError

_TIMEOUT_SECONDS = 1.0
_MAX_IDS = 50


def complete_techniques(incomplete: str) -> list[str]:
    """Techniques whose names begin so."""
    return [name for name in CATALOGUE if name.startswith(incomplete)]


def complete_datasets(incomplete: str) -> list[str]:
    """Datasets whose names begin so."""
    return [name for name in DATASETS if name.startswith(incomplete)]


def complete_presets(incomplete: str) -> list[tuple[str, str]]:
    """Presets whose names begin so, each with its title."""
    return _query(incomplete, lambda client: ((item.name, item.title) for item in client.presets()))


def complete_ids(incomplete: str) -> list[tuple[str, str]]:
    """The newest jobs and experiments whose ids begin so, each with its name."""
    return complete_experiments(incomplete) + _query(
        incomplete,
        lambda client: ((job.id, f"{job.state}, {job.title}") for job in client.jobs(page_size=_MAX_IDS)),
    )


def complete_experiments(incomplete: str) -> list[tuple[str, str]]:
    """The newest experiments whose ids begin so, each with its name."""
    return _query(
        incomplete, lambda client: ((item.id, item.name) for item in client.experiments(page_size=_MAX_IDS))
    )


def _query(incomplete: str, fetch: Callable[[Regbench], Iterable[tuple[str, str]]]) -> list[tuple[str, str]]:
    try:
        with Regbench(timeout=_TIMEOUT_SECONDS, retries=0) as client:
            newest = islice(fetch(client), _MAX_IDS)
            return [(name, title) for name, title in newest if name.startswith(incomplete)]
    except ClientError:
        return []
