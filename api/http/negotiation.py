"""Content negotiation: which media type suits an Accept header."""

from typing import Annotated

from fastapi import Header

# Left out of the OpenAPI document, where each answer's formats say it (OpenAPI 3.1, "Parameter Object").
Accept = Annotated[str, Header(include_in_schema=False)]


def negotiate(accept: str, offered: list[str]) -> str | None:
    """Which of the `offered` media types suits an Accept header best; None: none does.

    Between equals the earlier offer wins (RFC 9110, section 12.5.1).
    """
    ranges = [_parse_media_range(part) for part in (accept or "*/*").split(",")]
    best, best_quality = None, 0.0
    for media_type in offered:
        patterns = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
        matching = [item for item in ranges if item[0] in patterns]
        # The most specific range decides: text/html;q=0 forbids what */* allows.
        quality = max(matching, key=lambda item: 2 - item[0].count("*"))[1] if matching else 0.0
        if quality > best_quality:
            best, best_quality = media_type, quality
    return best


def _parse_media_range(part: str) -> tuple[str, float]:
    pattern, *parameters = (text.strip().lower() for text in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return pattern, float(value)
            except ValueError:
                return pattern, 0.0
    return pattern, 1.0
