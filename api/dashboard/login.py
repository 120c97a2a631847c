"""Login with an API key; the browser keeps its session's token in a cookie that scripts cannot read."""

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Cookie, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from api.dashboard.rendering import PageRoute, RenderPage, RenderPageDep
from api.http.auth import COOKIE, LOGIN, is_cross_site
from api.http.bodies import read_body_limited
from api.http.dependencies import DatabaseDep, SettingsDep
from api.http.problem_types import CROSS_ORIGIN
from api.http.problems import Problem
from models.store.database import Database
from models.store.keys import end_session, find_key, start_session

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_DEFAULT_PAGE = "/"
_SESSION_SECONDS = 30 * 86_400
_MAX_FORM_BYTES = 65_536
"""The requested page's address may contain a whole specification."""
Next = Annotated[str, Query(description="The page to show after the login")]


@router.get(LOGIN)
def show_login(render: RenderPageDep, settings: SettingsDep, next: Next = _DEFAULT_PAGE) -> Response:  # noqa: A002 (the query parameter's name)
    """The form for a key."""
    return _render_form(render, _restrict_to_local(next), needed=settings.api_keys_required != "false")


@router.post(LOGIN)
async def log_in(request: Request, render: RenderPageDep) -> Response:
    """Start a session for a valid key, and redirect to the requested page."""
    _require_same_site(request)
    form = parse_qs((await read_body_limited(request, _MAX_FORM_BYTES)).decode("utf-8", "replace"))
    key, next_page = (form.get(name, [""])[0].strip() for name in ("key", "next"))
    next_page = _restrict_to_local(next_page)
    database: Database = request.app.state.database

    def start() -> str | None:
        with database.write() as session:
            status = find_key(session, key) if key else None
            if status is None or status.revoked:
                return None
            if status.seconds_left is not None and status.seconds_left <= 0:
                return None
            return start_session(session, status.id, seconds=_SESSION_SECONDS)

    token = await run_in_threadpool(start)
    if token is None:
        return _render_form(render, next_page, error="This key is not valid.", status=401)
    response = RedirectResponse(next_page, status_code=303)
    secure = request.url.scheme == "https"
    response.set_cookie(
        COOKIE, token, max_age=_SESSION_SECONDS, httponly=True, samesite="strict", secure=secure
    )
    return response


@router.post("/logout")
def log_out(
    request: Request, database: DatabaseDep, token: Annotated[str, Cookie(alias=COOKIE)] = ""
) -> Response:
    """End the session, for every copy of its cookie, and delete the cookie."""
    _require_same_site(request)
    if token:
        with database.write() as session:
            end_session(session, token)
    response = RedirectResponse(LOGIN, status_code=303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _require_same_site(request: Request) -> None:
    """Protect against cross-site request forgery.

    Raises:
        Problem: another site's page sent the request.
    """
    if is_cross_site(request.headers):
        raise Problem(CROSS_ORIGIN, "Only this service's own page may send the form.")


def _render_form(
    render: RenderPage, next_page: str, *, needed: bool = True, error: str = "", status: int = 200
) -> Response:
    return render("login.html.jinja", status=status, needed=needed, next_page=next_page, error=error)


def _restrict_to_local(path: str) -> str:
    """The path, unless it leads to another site (an open redirect)."""
    local = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if local and path.isprintable() else _DEFAULT_PAGE
