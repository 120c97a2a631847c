"""Content negotiation: which media type suits an Accept header."""

from typing import Annotated

from fastapi import Header

from api.http import problem_types
from api.http.problems import Problem

# Left out of the OpenAPI document, where each response lists its formats (OpenAPI 3.1, "Parameter Object").
Accept = Annotated[str, Header(include_in_schema=False)]


def require_format(accept: str, offered: list[str]) -> str:
    """Which of the `offered` media types suits an Accept header best.

    Raises:
        Problem: none does.
    """
    media_type = negotiate(accept, offered)
    if media_type is None:
        raise Problem(problem_types.NOT_ACCEPTABLE, f"Available formats: {', '.join(offered)}.")
    return media_type


def negotiate(accept: str, offered: list[str]) -> str | None:
    """Which of the `offered` media types suits an Accept header best; None: none does.

    Between equals the earlier offer wins (RFC 9110, section 12.5.1).
    """
    ranges: dict[str, float] = {}
    for part in (accept or "*/*").split(","):
        pattern, *parameters = (text.strip().lower() for text in part.split(";"))
        quality = dict(parameter.partition("=")[::2] for parameter in parameters).get("q", "1")
        try:
            ranges[pattern] = float(quality)
        except ValueError:
            ranges[pattern] = 0.0
    best, best_quality = None, 0.0
    for media_type in offered:
        # The most specific range decides: text/html;q=0 forbids what */* allows.
        for pattern in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
            if pattern in ranges:
                if ranges[pattern] > best_quality:
                    best, best_quality = media_type, ranges[pattern]
                break
    return best
