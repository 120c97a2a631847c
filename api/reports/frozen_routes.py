"""Reports over HTTP that stay as they were at one moment, under an address that names their content."""

import hashlib
import io
import zipfile
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response, status
from pydantic import Field

from api.api_keys import record_audit_event
from api.http import problem_types
from api.http.dependencies import CallerDep, DatabaseDep, ExperimentId
from api.http.etags import IfNoneMatch, build_not_modified, match_etag
from api.http.idempotency import IdempotentWithoutBodyDep
from api.http.negotiation import Accept, require_format
from api.http.openapi import documented
from api.http.root_path import add_root
from api.http.routing import StrictQueryRoute
from api.http.schemas import ResponseModel
from api.reports.loading import find_experiment_report
from api.reports.rendering import CSP_HEADERS, MEDIA_TYPES, FormatName, render_document
from api.reports.schemas import Comparison
from models.store import frozen_reports as store
from models.store import service_tables
from models.store.experiments import get_experiment

router = APIRouter(prefix="/v1", tags=["reports"], route_class=StrictQueryRoute)

Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the report as JSON")]

_TEXT = {"schema": {"type": "string"}}
_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: _TEXT for name, media_type in MEDIA_TYPES.items() if name != "json"}}
}


class FrozenReport(ResponseModel):
    """A report that was kept as it was at one moment."""

    digest: str = Field(description="SHA-256 of its JSON, which its address ends with")
    experiment_id: str
    title: str
    headline: str
    complete: bool = Field(description="Whether every planned run had ended")
    created_at: datetime
    sha256: dict[str, str] = Field(description="Of its document in each format")
    citation: str = Field(description="How to cite it")
    links: dict[str, str] = Field(description="Its address in each format")


class FrozenReportList(ResponseModel):
    """An experiment's frozen reports, newest first."""

    items: list[FrozenReport]


@router.post(
    "/experiments/{experiment_id}/reports", status_code=status.HTTP_201_CREATED, response_model=FrozenReport
)
@documented(headers=("Location",))
def freeze_report(
    experiment_id: ExperimentId,
    caller: CallerDep,
    database: DatabaseDep,
    idempotent: IdempotentWithoutBodyDep,
    request: Request,
) -> Response:
    """Keep the experiment's report as it is now, in every format, under an address with its digest.

    It stays the same when the experiment is extended, and stays when it is deleted; only `DELETE` removes it.
    """
    with idempotent.executed():
        comparison = find_experiment_report(experiment_id, database, request).get_comparison()
        documents = {form: render_document(comparison, form) for form in MEDIA_TYPES}
        digests = {form: hashlib.sha256(document).hexdigest() for form, document in documents.items()}
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for form, document in documents.items():
                archive.writestr(form, document)
        with database.write() as session:
            row = store.save_report(
                session,
                service_tables.FrozenReport(
                    digest=digests["json"],
                    experiment_id=experiment_id,
                    owner=get_experiment(session, experiment_id).owner,
                    title=comparison.title,
                    headline=comparison.headline,
                    complete=comparison.complete,
                    sha256=digests,
                    content=content.getvalue(),
                ),
            )
            body = serialize_frozen_report(row, str(request.base_url))
            return idempotent.store_response(
                session, body, status.HTTP_201_CREATED, {"Location": body.links["json"].partition("?")[0]}
            )


@router.get("/experiments/{experiment_id}/reports")
def list_frozen_reports(
    experiment_id: ExperimentId, database: DatabaseDep, request: Request
) -> FrozenReportList:
    """The reports of an experiment that were kept, newest first."""
    with database.read() as session:
        rows = store.find_reports(session, experiment_id)
        if not rows:
            get_experiment(session, experiment_id)
        return FrozenReportList(items=[serialize_frozen_report(row, str(request.base_url)) for row in rows])


@router.get("/reports/{digest}", response_model=Comparison, responses=_FORMATS)
@documented(problem_types.NOT_FOUND, problem_types.NOT_ACCEPTABLE, headers=("ETag",))
def show_frozen_report(
    digest: Digest,
    database: DatabaseDep,
    format: Annotated[  # noqa: A002 (the parameter's name in the URL)
        FormatName | None, Query(description="Has precedence over the Accept header")
    ] = None,
    accept: Accept = "*/*",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A report as it was when it was frozen, to the byte."""
    media_type = MEDIA_TYPES[format] if format else require_format(accept, [*MEDIA_TYPES.values()])
    form = next(name for name, item in MEDIA_TYPES.items() if item == media_type)
    with database.read() as session:
        row = store.get_report(session, digest)
    tag = f'"{row.sha256[form]}"'
    headers = {
        "ETag": tag,
        "Vary": "Accept",
        # The address names the content, so that no cache need ask again.
        "Cache-Control": "private, max-age=31536000, immutable",
        **({} if form == "json" else CSP_HEADERS),
    }
    if match_etag(if_none_match, tag):
        return build_not_modified(tag, headers)
    with zipfile.ZipFile(io.BytesIO(row.content)) as archive:
        return Response(archive.read(form), media_type=media_type, headers=headers)


@router.delete("/reports/{digest}", status_code=status.HTTP_204_NO_CONTENT)
@documented(problem_types.NOT_FOUND)
def delete_frozen_report(digest: Digest, caller: CallerDep, database: DatabaseDep, request: Request) -> None:
    """Delete a frozen report for ever: what cites its address then leads to nothing. Its experiment stays."""
    with database.write() as session:
        report = store.get_report(session, digest)
        session.delete(report)
        record_audit_event(session, "report_deleted", digest, caller, request)


def serialize_frozen_report(row: service_tables.FrozenReport, base_url: str) -> FrozenReport:
    """A frozen report with its addresses, and how to cite it."""
    path = f"/v1/reports/{row.digest}"
    address, day = f"{base_url.rstrip('/')}{path}", row.created_at.date().isoformat()
    title = row.title.rstrip(".")
    return FrozenReport(
        digest=row.digest,
        experiment_id=row.experiment_id,
        title=row.title,
        headline=row.headline,
        complete=row.complete,
        created_at=row.created_at,
        sha256=row.sha256,
        citation=f"{title}. Regbench report of {day}. {address} (SHA-256 {row.digest}).",
        links={form: f"{add_root(path)}?format={form}" for form in MEDIA_TYPES},
    )
