"""What finished jobs have stored, over HTTP: models, and what they predict for the test images."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from api.http import problem_types
from api.http.dependencies import ArtifactsDep, DatabaseDep, JobId
from api.http.etags import IfNoneMatch, build_not_modified, match_etag
from api.http.files import IfRange, Range, build_file_response
from api.http.negotiation import Accept, require_format
from api.http.openapi import documented
from api.http.routing import StrictQueryRoute
from models.store import jobs as store
from models.store.transitions import get_job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictQueryRoute)

_BY_ACCEPT = {"Vary": "Accept"}
_PREDICTION_TYPES = {"npz": "application/octet-stream", "csv": "text/csv"}
_PREDICTIONS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "text/csv": {"schema": {"type": "string"}},
        }
    }
}
_BINARY = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.get("/{job_id}/test-predictions", response_class=Response, responses=_PREDICTIONS)
@documented(problem_types.NOT_ACCEPTABLE, headers=("ETag",))
def download_test_predictions(
    job_id: JobId,
    database: DatabaseDep,
    artifacts: ArtifactsDep,
    format: Annotated[  # noqa: A002 (the parameter's name in the URL)
        Literal["npz", "csv"] | None, Query(description="Overrides `Accept`")
    ] = None,
    accept: Accept = "*/*",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """What the trained model says of each test image, in the dataset's order.

    A NumPy archive with `log_probabilities` (n, classes), natural logarithms as 32-bit floats, and `labels`
    (n,); or the same as CSV. Removed with the model after `REGBENCH_KEEP_ARTIFACTS_DAYS`.
    """
    from models.test_predictions import TestPredictions, read_test_predictions  # noqa: PLC0415 (NumPy, which few requests need)

    media_type = require_format(accept, [*_PREDICTION_TYPES.values()])
    media_type = _PREDICTION_TYPES[format] if format else media_type
    with database.read() as session:
        result = store.get_result(get_job(session, job_id))
    path, sha256 = result.predictions_path, result.predictions_sha256
    content = read_test_predictions(artifacts, job_id, path, sha256)
    if media_type == _PREDICTION_TYPES["csv"]:
        tag, text = f'"{sha256}-csv"', TestPredictions.from_bytes(content).to_csv()
        headers = _BY_ACCEPT | {"ETag": tag}
        if match_etag(if_none_match, tag):
            return build_not_modified(tag, headers)
        return Response(text, media_type=media_type, headers=headers)
    response = build_file_response(
        content,
        sha256=sha256,
        filename=f"{job_id}-test-predictions.npz",
        if_none_match=if_none_match,
        byte_range=None,
        if_range=None,
    )
    response.headers.update(_BY_ACCEPT)
    return response


@router.get(
    "/{job_id}/model",
    response_class=Response,
    responses={200: _BINARY, 206: {"description": "The requested part", **_BINARY}},
)
@documented(problem_types.RANGE_NOT_SATISFIABLE, headers=("ETag", "Repr-Digest"))
def download_model(
    job_id: JobId,
    database: DatabaseDep,
    artifacts: ArtifactsDep,
    if_none_match: IfNoneMatch = None,
    byte_range: Range = None,
    if_range: IfRange = None,
) -> Response:
    """The trained model as a `.keras` file, whole or in part.

    It takes images (n, 784) scaled to 0..1 and returns the probabilities of the classes.
    """
    with database.read() as session:
        result = store.get_result(get_job(session, job_id))
    content = artifacts.get(result.model_path, sha256=result.model_sha256)
    return build_file_response(
        content,
        sha256=result.model_sha256,
        filename=f"{job_id}.keras",
        if_none_match=if_none_match,
        byte_range=byte_range,
        if_range=if_range,
    )
