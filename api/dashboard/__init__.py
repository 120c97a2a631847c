"""The pages that people look at. Their scripts talk to the same REST API as everybody."""

from fastapi import APIRouter

from api.dashboard import experiments, jobs, login, playground, static_files, techniques
from api.dashboard.rendering import problem_page

__all__ = ["problem_page", "router"]

router = APIRouter(include_in_schema=False)
for part in (static_files, jobs, experiments, techniques, login, playground):
    router.include_router(part.router)
