"""`python -m worker.dataset_check`: which datasets are on this machine, and whether they are as published.

Prints JSON for `regbench doctor`: a list of objects with `name`, `path` (null: in a package, or missing),
`health` (`ok`, `absent` or `damaged`) and `message`.
"""

import json
import sys

from models.dataset_arrays import load
from models.dataset_cards import DATASETS
from models.datasets import find_dataset
from models.errors import DatasetUnavailable
from models.settings import Settings, get_settings


def check_datasets(settings: Settings) -> list[dict[str, str | None]]:
    """Every dataset, read and verified where it is present; nothing is downloaded."""
    checks: list[dict[str, str | None]] = []
    for name, card in DATASETS.items():
        path = find_dataset(name, settings)
        health, message = "ok", "as published"
        if path is None and not card.packaged:
            health, message = "absent", "not on this machine; a submission tries to download it"
        else:
            try:
                load(name, settings)
            except DatasetUnavailable as error:
                health, message = "damaged", error.errors[0].detail
        checks.append(
            {"name": name, "path": str(path) if path else None, "health": health, "message": message}
        )
    return checks


if __name__ == "__main__":
    json.dump(check_datasets(get_settings()), sys.stdout)
