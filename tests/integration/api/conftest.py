"""The API over a real database, spoken to as a client does."""

import warnings
from collections.abc import Iterator

import pytest
from starlette.exceptions import StarletteDeprecationWarning

from models.database import Database
from models.settings import Settings
from tests.applications import application

with warnings.catch_warnings():
    # Starlette would rather have httpx2; Regbench's own client is built on httpx, so that is what there is.
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from fastapi.testclient import TestClient


@pytest.fixture
def client(database_settings: Settings, database: Database) -> Iterator[TestClient]:
    """A client of the API over `database`; no broker runs, so doorbells are only logged."""
    with TestClient(application(database_settings)) as client:
        yield client
