"""Reports and charts by what they are made from: ETags, and documents kept so that none is drawn twice."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from cachetools import LRUCache
from fastapi import Request, Response

from api.http.etags import build_not_modified, format_weak_etag, match_etag
from api.reports.schemas import Comparison

_MAX_BYTES = 64_000_000
_MAX_COMPARISONS = 16


@dataclass(frozen=True)
class ReportSource:
    """The rows that a report is made from, at one moment."""

    digest: str
    finished: bool
    """Whether these rows will not change by themselves, so that keeping the report is worth its memory."""


def build_source(*parts: Any, finished: bool) -> ReportSource:
    """The source made of `parts`, which JSON can express."""
    text = json.dumps(parts, sort_keys=True)
    return ReportSource(hashlib.sha256(text.encode()).hexdigest()[:32], finished)


class ReportCache:
    """Rendered documents of finished reports. Of two requests for a new one, one waits for the other."""

    def __init__(self) -> None:
        self._documents: LRUCache[tuple[str, str], bytes] = LRUCache(_MAX_BYTES, getsizeof=len)
        self._comparisons: LRUCache[str, Comparison] = LRUCache(_MAX_COMPARISONS)
        self._lock = Lock()
        self._building = Lock()

    def respond(
        self,
        request: Request,
        source: ReportSource,
        name: str,
        build: Callable[[], bytes],
        *,
        media_type: str,
        headers: dict[str, str],
    ) -> Response:
        """The document `name` of a report, or 304 where the client has it."""
        tag = format_weak_etag(f"{source.digest}-{name}")
        if match_etag(request.headers.get("If-None-Match"), tag):
            return build_not_modified(tag, headers)
        content = self._get(source, name, build) if source.finished else build()
        return Response(content, media_type=media_type, headers=headers | {"ETag": tag})

    def _get(self, source: ReportSource, name: str, build: Callable[[], bytes]) -> bytes:
        key = source.digest, name
        with self._lock:
            content = self._documents.get(key)
        if content is not None:
            return content
        with self._building:
            with self._lock:
                content = self._documents.get(key)
            if content is None:
                content = build()
                with self._lock:
                    # One that is larger than all the room is not kept.
                    if len(content) <= _MAX_BYTES:
                        self._documents[key] = content
        return content

    def get_comparison(self, source: ReportSource, build: Callable[[], Comparison]) -> Comparison:
        """The comparison that every format and chart of a report is made from."""
        with self._lock:
            comparison = self._comparisons.get(source.digest)
        if comparison is None:
            comparison = build()
            if source.finished:
                with self._lock:
                    self._comparisons[source.digest] = comparison
        return comparison
