"""ETags and conditional requests."""

import hashlib
import re
from importlib.metadata import version
from typing import Annotated

from fastapi import Header, Response

ETAG_PATTERN = re.compile(r'(?:W/)?"([^"]*)"')
_RELEASE = version("regbench")
IfNoneMatch = Annotated[
    str | None, Header(description="`ETag` of your version; 304 without a body if nothing has changed")
]


def compute_document_etag(document: str, *, prefix: str = "") -> str:
    """The ETag of a document whose rows have no version."""
    return format_weak_etag(prefix + hashlib.sha256(document.encode()).hexdigest()[:32])


def format_weak_etag(value: str) -> str:
    """The ETag of rows whose versions `value` combines."""
    # Another release may render the same rows differently.
    return f'W/"{value}-{_RELEASE}"'


def match_etag(if_none_match: str | None, tag: str) -> bool:
    """Whether If-None-Match contains the tag (RFC 9110, section 13.1.2: weak comparison)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag.removeprefix("W/").strip('"') in ETAG_PATTERN.findall(
        if_none_match
    )


def build_not_modified(tag: str, headers: dict[str, str] | None = None) -> Response:
    """304 Not Modified."""
    return Response(status_code=304, headers={"ETag": tag, **(headers or {})})
