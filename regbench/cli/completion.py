"""What a shell may complete an argument to. A service that does not answer at once is not waited for."""

from collections.abc import Callable

from models.spec import DATASET_ROWS
from models.techniques import CATALOGUE
from regbench.client import Regbench
from regbench.errors import ClientError

SECONDS = 1.0
MOST_IDS = 50


def technique_names(incomplete: str) -> list[str]:
    """Techniques whose names begin so."""
    return [name for name in CATALOGUE if name.startswith(incomplete)]


def dataset_names(incomplete: str) -> list[str]:
    """Datasets whose names begin so."""
    return [name for name in DATASET_ROWS if name.startswith(incomplete)]


def preset_names(incomplete: str) -> list[tuple[str, str]]:
    """Presets whose names begin so, each with its title."""
    return _asked(
        lambda client: [
            (each.name, each.title) for each in client.presets() if each.name.startswith(incomplete)
        ]
    )


def job_or_experiment_ids(incomplete: str) -> list[tuple[str, str]]:
    """The newest jobs and experiments whose ids begin so, each with its name."""
    return [*experiment_ids(incomplete), *job_ids(incomplete)]


def job_ids(incomplete: str) -> list[tuple[str, str]]:
    """The newest jobs whose ids begin so, each with its state and name."""
    return _asked(
        lambda client: [
            (job.id, f"{job.state}, {job.title}")
            for _, job in zip(range(MOST_IDS), client.jobs(page_size=MOST_IDS), strict=False)
            if job.id.startswith(incomplete)
        ]
    )


def experiment_ids(incomplete: str) -> list[tuple[str, str]]:
    """The newest experiments whose ids begin so, each with its name."""
    return _asked(
        lambda client: [
            (each.id, each.name)
            for _, each in zip(range(MOST_IDS), client.experiments(page_size=MOST_IDS), strict=False)
            if each.id.startswith(incomplete)
        ]
    )


def _asked(ask: Callable[[Regbench], list[tuple[str, str]]]) -> list[tuple[str, str]]:
    try:
        with Regbench(timeout=SECONDS, retries=0) as client:
            return ask(client)
    except ClientError:
        return []
