"""ETags and conditional requests."""

import hashlib
import re
from importlib.metadata import version
from typing import Annotated

from fastapi import Header, Response

_TAG = re.compile(r'(?:W/)?"([^"]*)"')


_RELEASE = version("regbench")


IfNoneMatch = Annotated[
    str | None, Header(description="`ETag` of what you have; 304 without a body if nothing has changed")
]


def document_tag(document: str) -> str:
    """The ETag of a document whose rows have no version."""
    return _weak(hashlib.sha256(document.encode()).hexdigest()[:32])


def rows_tag(mark: str) -> str:
    """The ETag of what a mark stands for."""
    return _weak(mark)


def _weak(mark: str) -> str:
    # Another release may show the same rows otherwise.
    return f'W/"{mark}-{_RELEASE}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether a client has what the tag stands for (RFC 9110, section 13.1.2: the comparison is weak)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag.removeprefix("W/").strip('"') in _TAG.findall(if_none_match)


def not_modified(tag: str, headers: dict[str, str] | None = None) -> Response:
    """304: what the client has is what there is."""
    return Response(status_code=304, headers={"ETag": tag, **(headers or {})})
