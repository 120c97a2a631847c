"""The pages that people look at. Their scripts talk to the same REST API as everybody."""

from fastapi import APIRouter

from api.dashboard import experiments, jobs, learning, login, static, trying
from api.dashboard.pages import problem_page

__all__ = ["problem_page", "router"]

router = APIRouter(include_in_schema=False)
for part in (static, jobs, experiments, learning, login, trying):
    router.include_router(part.router)
