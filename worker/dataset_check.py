"""`python -m worker.dataset_check`: which datasets are on this machine, and whether as published.

Said as JSON, for `regbench doctor`.
A list of objects: `name`, `place` (null: in a package, or nowhere), `health` (`ok`, `absent` or `damaged`)
and `said`.
"""

import json
import sys

from models.datasets import DATASETS, find_dataset, is_available
from models.errors import DatasetUnavailable
from models.settings import Settings, get_settings
from worker.datasets import load


def check_datasets(settings: Settings) -> list[dict[str, str | None]]:
    """Every dataset, read and checked where it is there; nothing is downloaded."""
    return [_look(name, settings) for name in DATASETS]


def _look(name: str, settings: Settings) -> dict[str, str | None]:
    path = None if DATASETS[name].packaged else find_dataset(name, settings)
    health, message = "ok", "as published"
    if not is_available(name, settings):
        health, message = "absent", "not on this machine; a submit tries to download it"
    else:
        try:
            load(name, settings)
        except DatasetUnavailable as error:
            health, message = "damaged", error.errors[0].detail
    return {"name": name, "place": str(path) if path else None, "health": health, "said": message}


if __name__ == "__main__":
    json.dump(check_datasets(get_settings()), sys.stdout)
