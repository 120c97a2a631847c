"""Bundles over HTTP: an experiment as one file that others can check, and such a file brought in."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from api import reports
from api.api_keys import record_audit_event
from api.experiments import schemas as experiment_schemas
from api.experiments.serializers import SerializerDep
from api.http import problem_types
from api.http.bodies import read_body_limited
from api.http.dependencies import CallerDep, DatabaseDep, ExperimentId, SettingsDep
from api.http.etags import IfNoneMatch
from api.http.files import build_file_response
from api.http.openapi import documented
from api.http.routing import StrictQueryRoute
from api.reports.loading import load_portable_comparison
from api.reports.rendering import MEDIA_TYPES, FormatName, render_document
from models import bundles
from models.errors import FieldError, InvalidSpec
from models.settings import Settings
from models.store import bundles as store
from models.store.experiments import get_experiment

router = APIRouter(prefix="/v1", tags=["experiments"], route_class=StrictQueryRoute)

_ZIP = {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
_COMPARED: tuple[FormatName, ...] = ("json", "md", "csv", "tex")
"""Formats in which the report has to come out the same; HTML contains the charts' fonts."""
_README = """# {title}

{headline}

One experiment of Regbench {version}, to be checked:

- `experiment.json`, `jobs.json`, `epochs.json`: specifications, seeds, results and histories; of each model
  the SHA-256 of its weights (`weights_sha256`), of its data (`dataset_sha256`), and its engine.
- `report.*` and `charts/`: the report in all formats, as of the last result. `$REGBENCH_URL` is the address
  of an installation.
- `ro-crate-metadata.json`: size and SHA-256 of every file (RO-Crate 1.1).

Check the files, and train a sample again: `regbench verify bundle.zip --sample 3`.
Bring it into an installation, where the report comes out the same: `regbench import bundle.zip`.
Train all of it again:

    {repeat}
"""


@router.get("/experiments/{experiment_id}/bundle", response_class=Response, responses={200: _ZIP})
@documented(problem_types.CONFLICT, headers=("ETag", "Repr-Digest"))
def download_bundle(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    settings: SettingsDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The experiment as a ZIP file with RO-Crate metadata, to be verified and imported; 409 while a job runs.

    Specifications, seeds, results, histories, digests of data and weights, engines, and the report in every
    format; no model files. The same rows give the same bytes.
    """
    with database.read() as session:
        content = build_bundle(session, experiment_id, settings)
    response = build_file_response(
        content,
        sha256=hashlib.sha256(content).hexdigest(),
        filename=f"{experiment_id}.zip",
        if_none_match=if_none_match,
        byte_range=None,
        if_range=None,
    )
    if response.status_code == status.HTTP_200_OK:
        response.headers["Content-Type"] = "application/zip"
    return response


def build_bundle(session: Session, experiment_id: str, settings: Settings) -> bytes:
    """The ZIP file of a finished experiment.

    Raises:
        NotFound: there is none of that id.
        Conflict: a job has not ended.
    """
    files = store.export_experiment(session, experiment_id)
    comparison = load_portable_comparison(session, experiment_id, settings)
    files |= {f"report.{form}": render_document(comparison, form) for form in MEDIA_TYPES}
    files |= {
        f"charts/{chart.name}.svg": chart.render_svg(comparison).encode()
        for chart in reports.charts.get_available(comparison)
    }
    files["README.md"] = _README.format(**vars(comparison)).encode()
    root = {
        "name": comparison.title,
        "description": comparison.headline,
        "datePublished": comparison.generated_at.isoformat(),
        "identifier": experiment_id,
        "version": comparison.version,
    }
    return bundles.pack(files, root)


@documented(
    problem_types.BODY_TOO_LARGE,
    problem_types.UNSUPPORTED_MEDIA_TYPE,
    problem_types.INVALID_SPEC,
)
async def read_bundle(request: Request, settings: SettingsDep) -> dict[str, bytes]:
    """The files of the posted bundle, each checked by its digest."""
    content = await read_body_limited(request, settings.max_dataset_bytes)
    return await run_in_threadpool(bundles.unpack, content, most_bytes=settings.max_dataset_bytes)


@router.post(
    "/bundles",
    status_code=status.HTTP_201_CREATED,
    openapi_extra={"requestBody": {**_ZIP, "required": True}},
)
@documented(problem_types.CONFLICT, headers=("Location",))
def import_bundle(
    files: Annotated[dict[str, bytes], Depends(read_bundle)],
    caller: CallerDep,
    database: DatabaseDep,
    settings: SettingsDep,
    serializer: SerializerDep,
    request: Request,
    response: Response,
) -> experiment_schemas.Experiment:
    """Store a bundle's experiment with its jobs, results and histories, under the ids that they have.

    422 names the file that was changed, or the report that does not follow from the results; 409 if an id is
    taken by other content. Again with the same content it is the same experiment. Models do not come along.
    """
    with database.write() as session:
        experiment_id = store.import_experiment(session, files, owner=caller.owner)
        _check_report(session, experiment_id, files, settings)
        record_audit_event(session, "experiment_imported", experiment_id, caller, request)
        body = serializer.serialize(session, [get_experiment(session, experiment_id)])[0]
    response.headers["Location"] = body.links.self
    return body


def _check_report(session: Session, experiment_id: str, files: dict[str, bytes], settings: Settings) -> None:
    """Raise InvalidSpec where the bundle's report is not the one that its results give.

    Another release may word it differently: then only the results count.
    """
    try:
        comparison = load_portable_comparison(session, experiment_id, settings)
        documents = {form: render_document(comparison, form) for form in _COMPARED}
        stated = bundles.parse_document(files, "report.json")["version"]
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        detail = f"no report can be made of the bundle's documents: {type(error).__name__}: {error}"
        raise InvalidSpec([FieldError("/experiment.json", detail[:300])]) from None
    if stated != comparison.version:
        return
    for form, document in documents.items():
        if files.get(f"report.{form}") != document:
            detail = "the report is not the one that the bundle's results give"
            raise InvalidSpec([FieldError(f"/report.{form}", detail)])
