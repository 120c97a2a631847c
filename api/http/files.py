"""Responses with a file whose SHA-256 is known: conditional, in parts, with a digest."""

import re
from base64 import b64encode
from typing import Annotated

from fastapi import Header, Response

from api.http import problem_types
from api.http.etags import build_not_modified, match_etag
from api.http.problems import Problem

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")

Range = Annotated[str | None, Header(alias="Range", description="A part of the file: `bytes=FIRST-LAST`")]
IfRange = Annotated[str | None, Header(description="`ETag` of the file of which you have other parts")]


def build_file_response(
    content: bytes,
    *,
    sha256: str,
    filename: str,
    if_none_match: str | None,
    byte_range: str | None,
    if_range: str | None,
) -> Response:
    """The file, the requested part of it, or 304 if the client has it.

    Raises:
        Problem: the part begins after the end of the file.
    """
    tag = f'"{sha256}"'
    headers = {
        "ETag": tag,
        # RFC 9530: of the whole file, in a part's response too.
        "Repr-Digest": f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:",
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{filename}"',
    }
    if match_etag(if_none_match, tag):
        return build_not_modified(tag, headers)
    match = _RANGE.fullmatch(byte_range or "")
    status, size = 200, len(content)
    # RFC 9110, section 14.2: a Range that is not understood is ignored, as one of another version is.
    if match and (match[1] or match[2]) and if_range in (None, tag):
        first = int(match[1]) if match[1] else max(0, size - int(match[2]))
        last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
        if first >= size:
            raise Problem(
                problem_types.RANGE_NOT_SATISFIABLE,
                f"The file has {size:,} bytes.",
                headers={"Content-Range": f"bytes */{size}"},
            )
        if first <= last:
            status, content = 206, content[first : last + 1]
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(content, status, headers, media_type="application/octet-stream")
