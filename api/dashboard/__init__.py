"""The dashboard's pages. Their scripts use the public REST API."""

from fastapi import APIRouter

from api.dashboard import (
    access,
    datasets,
    experiments,
    jobs,
    login,
    overview,
    playground,
    static_files,
    techniques,
)
from api.dashboard.rendering import render_problem_page

__all__ = ["render_problem_page", "router"]

router = APIRouter(include_in_schema=False)
for part in (static_files, overview, access, jobs, datasets, experiments, techniques, login, playground):
    router.include_router(part.router)
