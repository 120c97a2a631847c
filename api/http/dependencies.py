"""What routes ask for: the settings, the database, ids, and the posted document, checked."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import BackgroundTasks, Depends, Path, Query, Request

from api.http import problem_types
from api.http.problem_types import raises
from models import dispatch
from models.artifacts import ArtifactStore
from models.errors import NotFound
from models.identifiers import ID_PATTERN
from models.settings import Settings
from models.store.database import Database


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


SettingsDep = Annotated[Settings, Depends(_settings)]


@dataclass(frozen=True)
class Caller:
    """Who asks, and which rows it sees."""

    owner: str
    """Of what it creates."""
    sees_all: bool
    """Whether it sees everybody's rows, not only its own, and may do what admins do."""
    key_id: str | None = None
    """The API key that it showed; None where none is needed."""


_AT_THE_DOOR = (
    problem_types.MISSING_KEY,
    problem_types.INVALID_KEY,
    problem_types.EXPIRED_KEY,
    problem_types.INSUFFICIENT_SCOPE,
    problem_types.CROSS_ORIGIN,
    problem_types.WRONG_HOST,
    problem_types.RATE_LIMITED,
)


def caller_of(request: Request) -> Caller:
    """Who asks."""
    caller: Caller = request.state.caller  # by api/http/auth.py
    return caller


def database_for(request: Request) -> Database:
    """The database, as far as the caller may see it."""
    database: Database = request.app.state.database
    caller = caller_of(request)
    return database if caller.sees_all else database.of(caller.owner)


# What a dependency needs of another, it takes from the request: each that FastAPI has to go about within
# another costs what looking a job up does.
@raises(*_AT_THE_DOOR)
async def _caller(request: Request) -> Caller:
    return caller_of(request)


CallerDep = Annotated[Caller, Depends(_caller)]


@raises(problem_types.SERVICE_UNAVAILABLE, *_AT_THE_DOOR)
async def _database(request: Request) -> Database:
    return database_for(request)


DatabaseDep = Annotated[Database, Depends(_database)]


async def _ring(request: Request, background: BackgroundTasks) -> Callable[[Sequence[str]], None]:
    """Rings for jobs after the answer: their rows are safe already, and the broker may be slow or away."""
    state = request.app.state
    return lambda job_ids: background.add_task(
        dispatch.notify_workers, state.database, state.settings, job_ids
    )


RingDep = Annotated[Callable[[Sequence[str]], None], Depends(_ring)]


@raises(problem_types.SERVICE_UNAVAILABLE)
async def _artifacts(settings: SettingsDep) -> ArtifactStore:
    return ArtifactStore(settings)


@raises(problem_types.NOT_FOUND)
async def _job_id(job_id: Annotated[str, Path(description="As `POST /v1/jobs` gave it")]) -> str:
    return known_form("job", job_id)


@raises(problem_types.NOT_FOUND)
async def _experiment_id(
    experiment_id: Annotated[str, Path(description="As `POST /v1/experiments` gave it")],
) -> str:
    return known_form("experiment", experiment_id)


def known_form(kind: str, given: str) -> str:
    """`given`, if it can be an id.

    Raises:
        NotFound: it cannot.
    """
    # What cannot be an id never reaches the database: PostgreSQL refuses some strings altogether.
    if not re.fullmatch(ID_PATTERN, given):
        raise NotFound(f"There is no {kind} of that id.")
    return given


ArtifactsDep = Annotated[ArtifactStore, Depends(_artifacts)]


JobId = Annotated[str, Depends(_job_id)]


ExperimentId = Annotated[str, Depends(_experiment_id)]
DryRun = Annotated[bool, Query(description="Only check and price; store nothing")]
