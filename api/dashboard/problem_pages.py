"""What each kind of problem means: the addresses that `type` in a problem document names."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.dashboard.rendering import RenderPageDep
from api.http import problem_types
from api.http.negotiation import Accept, require_format
from api.http.openapi import build_text_responses, documented
from api.http.routing import StrictQueryRoute
from models.errors import NotFound

router = APIRouter(tags=["about"], route_class=StrictQueryRoute)


@router.get(
    "/problems/{code}", response_class=Response, responses=build_text_responses("text/markdown", "text/html")
)
@documented(problem_types.NOT_FOUND, problem_types.NOT_ACCEPTABLE)
def show_problem_type(
    render: RenderPageDep,
    code: Annotated[str, Path(description="The last part of `type` in a problem")],
    accept: Accept = "*/*",
) -> Response:
    """What a kind of problem means, and what to do about it, as Markdown or HTML by `Accept`."""
    if code not in problem_types.TYPES:
        raise NotFound(f"There is no problem of that name; choose one of {', '.join(problem_types.TYPES)}.")
    kind = problem_types.TYPES[code]
    media_type = require_format(accept, ["text/markdown", "text/html"])
    page = (
        Response(problem_types.render_page(kind), media_type=media_type)
        if media_type == "text/markdown"
        else render("problem_type.html.jinja", kind=kind)
    )
    page.headers["Vary"] = "Accept"
    return page
