"""What a shell may complete an argument to. A service that does not answer at once is not waited for."""

from collections.abc import Callable
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
    return _query(
        lambda client: [
            (preset.name, preset.title) for preset in client.presets() if preset.name.startswith(incomplete)
        ]
    )


def complete_ids(incomplete: str) -> list[tuple[str, str]]:
    """The newest jobs and experiments whose ids begin so, each with its name."""
    jobs = _query(
        lambda client: [
            (job.id, f"{job.state}, {job.title}")
            for job in islice(client.jobs(page_size=_MAX_IDS), _MAX_IDS)
            if job.id.startswith(incomplete)
        ]
    )
    return complete_experiments(incomplete) + jobs


def complete_experiments(incomplete: str) -> list[tuple[str, str]]:
    """The newest experiments whose ids begin so, each with its name."""
    return _query(
        lambda client: [
            (experiment.id, experiment.name)
            for experiment in islice(client.experiments(page_size=_MAX_IDS), _MAX_IDS)
            if experiment.id.startswith(incomplete)
        ]
    )


def _query(fetch: Callable[[Regbench], list[tuple[str, str]]]) -> list[tuple[str, str]]:
    try:
        with Regbench(timeout=_TIMEOUT_SECONDS, retries=0) as client:
            return fetch(client)
    except ClientError:
        return []
