"""Where keys are required: a browser shows its key once, and keeps it in a cookie that no script can read."""

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from api.dashboard.rendering import Page, PageDep, PageRoute
from api.http.auth import COOKIE, LOGIN, is_cross_site
from api.http.bodies import read_body_limited
from api.http.dependencies import SettingsDep
from api.http.problem_types import CROSS_ORIGIN
from api.http.problems import Problem
from models.store.database import Database
from models.store.keys import find_key

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_START = "/jobs"
_COOKIE_SECONDS = 30 * 86_400
_MOST_BYTES = 65_536
"""Of the form: the address of the page that was asked for may hold a whole specification."""
Next = Annotated[str, Query(description="The page that was asked for")]


@router.get(LOGIN)
def show_login(page: PageDep, settings: SettingsDep, next: Next = _START) -> Response:  # noqa: A002 (the address's word)
    """The form for a key."""
    return _form(page, settings.api_keys_required != "false", _own_page(next))


@router.post(LOGIN)
async def log_in(request: Request, page: PageDep) -> Response:
    """Keep a key that opens something, and go on to the page that was asked for."""
    _check_own(request)
    form = parse_qs((await read_body_limited(request, _MOST_BYTES)).decode("utf-8", "replace"))
    key, wanted = (form.get(name, [""])[0].strip() for name in ("key", "next"))
    if not await run_in_threadpool(_opens, request.app.state.database, key):
        return _form(page, True, _own_page(wanted), fault="This key is not valid.", status=401)
    answer = RedirectResponse(_own_page(wanted), status_code=303)
    answer.set_cookie(
        COOKIE,
        key,
        max_age=_COOKIE_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
def log_out(request: Request) -> Response:
    """Forget the key."""
    _check_own(request)
    answer = RedirectResponse(LOGIN, status_code=303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _check_own(request: Request) -> None:
    """Refuse what another site's page makes a browser send.

    Raises:
        Problem: it is such.
    """
    if is_cross_site(request.headers):
        raise Problem(CROSS_ORIGIN, "Only this service's own page may send the form.")


def _opens(database: Database, key: str) -> bool:
    """Whether a key opens something now."""
    with database.read() as session:
        result = find_key(session, key) if key else None
    if result is None or result.revoked:
        return False
    return result.seconds_left is None or result.seconds_left > 0


def _form(page: Page, needed: bool, wanted: str, *, fault: str = "", status: int = 200) -> Response:
    return page("login.html.jinja", status=status, needed=needed, wanted=wanted, fault=fault)


def _own_page(wanted: str) -> str:
    """The wanted page, if it is one of this service: a link from elsewhere must not lead away."""
    plain = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted
    return wanted if plain and wanted.isprintable() else _START
