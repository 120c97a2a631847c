"""What each kind of problem means: the addresses that `type` in a problem document names."""

import html
import re
from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.http import problem_types
from api.http.negotiation import Accept, require_format
from api.http.openapi import build_text_responses, documented
from api.http.routing import StrictQueryRoute
from models.errors import NotFound

router = APIRouter(tags=["about"], route_class=StrictQueryRoute)

_HEADERS = {"Vary": "Accept", "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.get(
    "/problems/{code}", response_class=Response, responses=build_text_responses("text/markdown", "text/html")
)
@documented(problem_types.NOT_FOUND, problem_types.NOT_ACCEPTABLE)
def show_problem_type(
    code: Annotated[str, Path(description="The last part of `type` in a problem")], accept: Accept = "*/*"
) -> Response:
    """What a kind of problem means, and what to do about it, as Markdown or HTML by `Accept`."""
    if code not in problem_types.TYPES:
        raise NotFound(f"There is no problem of that name; choose one of {', '.join(problem_types.TYPES)}.")
    kind = problem_types.TYPES[code]
    media_type = require_format(accept, ["text/markdown", "text/html"])
    page = (
        problem_types.render_page(kind)
        if media_type == "text/markdown"
        else (
            '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">\n'
            f"<title>{render_code(kind.title)}</title>\n"
            "<style>body {font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 2rem auto}</style>\n"
            f"<h1>{render_code(kind.title)}</h1>\n"
            f"<p><code>{kind.code}</code>, {kind.status.value} {kind.status.phrase}</p>\n"
            f"<p>{render_code(kind.meaning)}</p>\n"
            f"<p>What to do: {render_code(kind.remedy)}</p>\n"
        )
    )
    return Response(page, media_type=media_type, headers=_HEADERS)


def render_code(text: str) -> str:
    """Text as HTML, what stands between backticks as code."""
    return re.sub(r"`(.+?)`", r"<code>\1</code>", html.escape(text, quote=False))
