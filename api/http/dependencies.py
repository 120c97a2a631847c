"""Dependencies of routes: settings, database, caller, ids."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import BackgroundTasks, Depends, Path, Query, Request

from api.http import problem_types
from api.http.openapi import documented
from models import dispatch
from models.artifacts import ArtifactStore
from models.errors import NotFound
from models.identifiers import ID_PATTERN
from models.scopes import Scope
from models.settings import Settings
from models.store.database import Database


async def get_app_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


SettingsDep = Annotated[Settings, Depends(get_app_settings)]


@dataclass(frozen=True)
class Caller:
    """The owner of the request's key, and which rows it may access."""

    owner: str
    """Owner of the rows that it creates."""
    sees_all: bool
    """Whether it may access the rows of all owners, as admins and observers may."""
    key_id: str | None = None
    """The API key used; None where no key is required."""
    is_admin: bool = False
    """Whether it may manage keys and read the audit trail."""
    scope: Scope | None = None
    """Of the key; None where no key is required."""

    @property
    def limited_owner(self) -> str | None:
        """The owner whose share of streams and predictions is limited; None without keys."""
        return self.owner if self.key_id else None


AUTH_PROBLEMS = (
    problem_types.MISSING_KEY,
    problem_types.INVALID_KEY,
    problem_types.EXPIRED_KEY,
    problem_types.INSUFFICIENT_SCOPE,
    problem_types.CROSS_ORIGIN,
    problem_types.WRONG_HOST,
    problem_types.RATE_LIMITED,
)


def get_caller(request: Request) -> Caller:
    """The caller, set by AuthMiddleware."""
    caller: Caller = request.state.caller  # by api/http/auth.py
    return caller


def get_database(request: Request) -> Database:
    """The database, restricted to rows that the caller may access."""
    database: Database = request.app.state.database
    caller = get_caller(request)
    return database if caller.sees_all else database.for_owner(caller.owner)


# Dependencies read from the request instead of depending on each other: each nested dependency costs as much
# as loading a job.
@documented(*AUTH_PROBLEMS)
async def require_caller(request: Request) -> Caller:
    return get_caller(request)


CallerDep = Annotated[Caller, Depends(require_caller)]


@documented(problem_types.SERVICE_UNAVAILABLE, *AUTH_PROBLEMS)
async def require_database(request: Request) -> Database:
    return get_database(request)


DatabaseDep = Annotated[Database, Depends(require_database)]


async def get_dispatch(request: Request, background: BackgroundTasks) -> Callable[[Sequence[str]], None]:
    """Sends dispatch messages after the response: rows are committed already, and the broker may be slow."""
    state = request.app.state
    return lambda job_ids: background.add_task(
        dispatch.notify_workers, state.database, state.settings, job_ids
    )


DispatchDep = Annotated[Callable[[Sequence[str]], None], Depends(get_dispatch)]


@documented(problem_types.SERVICE_UNAVAILABLE)
async def get_artifacts(settings: SettingsDep) -> ArtifactStore:
    return ArtifactStore(settings)


JobIdPath = Annotated[str, Path(description="As returned by `POST /v1/jobs`")]


@documented(problem_types.NOT_FOUND)
async def parse_job_id(job_id: JobIdPath) -> str:
    return parse_id("job", job_id)


@documented(problem_types.NOT_FOUND)
async def parse_experiment_id(
    experiment_id: Annotated[str, Path(description="As returned by `POST /v1/experiments`")],
) -> str:
    return parse_id("experiment", experiment_id)


def parse_id(kind: str, value: str) -> str:
    """`value`, if it can be an id.

    Raises:
        NotFound: it cannot be one.
    """
    # Such a value must not reach the database: PostgreSQL refuses some strings altogether.
    if not re.fullmatch(ID_PATTERN, value):
        raise NotFound(f"There is no {kind} with that id.")
    return value


ArtifactsDep = Annotated[ArtifactStore, Depends(get_artifacts)]


JobId = Annotated[str, Depends(parse_job_id)]


ExperimentId = Annotated[str, Depends(parse_experiment_id)]
DryRun = Annotated[bool, Query(description="Only check and estimate the cost; store nothing")]
