"""What finished jobs have stored, over HTTP: models, and what they predict for the test images."""

import hashlib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from api.http import problem_types
from api.http.dependencies import ArtifactsDep, DatabaseDep, JobId, SettingsDep
from api.http.etags import IfNoneMatch, build_not_modified, match_etag
from api.http.files import IfRange, Range, build_file_response
from api.http.negotiation import Accept, require_format
from api.http.openapi import documented
from api.http.routing import StrictQueryRoute
from models.errors import FieldError, InvalidSpec
from models.spec import STORED, JobSpec
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


class TestImage(BaseModel):
    """One of the test images that a job's model is measured on."""

    __test__ = False  # for pytest, which would collect it

    index: int = Field(description="Its place among the dataset's test images, from 0")
    label: int = Field(description="Its class, from 0")
    pixels: list[int] = Field(description="28x28 rows one after another; 0 is background, 255 ink")


class TestImageList(BaseModel):
    """Test images in the order in which they were requested."""

    __test__ = False

    items: list[TestImage]


@router.get("/{job_id}/test-predictions", response_class=Response, responses=_PREDICTIONS)
@documented(
    problem_types.NOT_ACCEPTABLE,
    problem_types.DATASET_UNAVAILABLE,
    problem_types.PREDICTOR_UNAVAILABLE,
    headers=("ETag",),
)
def download_test_predictions(
    job_id: JobId,
    database: DatabaseDep,
    artifacts: ArtifactsDep,
    settings: SettingsDep,
    format: Annotated[  # noqa: A002 (the parameter's name in the URL)
        Literal["npz", "csv"] | None, Query(description="Overrides `Accept`")
    ] = None,
    accept: Accept = "*/*",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """What the trained model says of each test image, in the dataset's order.

    A NumPy archive with `log_probabilities` (n, classes), natural logarithms as 32-bit floats, and `labels`
    (n,); or the same as CSV. Of jobs from before they were stored they are made from the model at the first
    request. Removed with the model after `REGBENCH_KEEP_ARTIFACTS_DAYS`.
    """
    from api.jobs.past_predictions import make_test_predictions  # noqa: PLC0415 (NumPy, which few requests need)
    from models.test_predictions import SUFFIX, TestPredictions, read_test_predictions  # noqa: PLC0415 (the same)

    offered = [*_PREDICTION_TYPES.values()]
    media_type = _PREDICTION_TYPES[format] if format else require_format(accept, offered)
    with database.read() as session:
        job = get_job(session, job_id)
        result = store.get_result(job)
    path = result.predictions_path
    if path is None or path.endswith(SUFFIX):
        content = read_test_predictions(artifacts, job_id, path, result.predictions_sha256)
    else:
        content = make_test_predictions(job, artifacts, settings)
    sha256 = hashlib.sha256(content).hexdigest()
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


@router.get("/{job_id}/test-images")
@documented(problem_types.DATASET_UNAVAILABLE)
def list_test_images(
    job_id: JobId,
    database: DatabaseDep,
    artifacts: ArtifactsDep,
    settings: SettingsDep,
    index: Annotated[
        list[Annotated[int, Field(ge=0)]],
        Query(
            description="Of an image among the test images, from 0; repeatable", min_length=1, max_length=100
        ),
    ],
) -> TestImageList:
    """Some of the test images of the job's dataset, in the order of `test-predictions`."""
    from models.dataset_arrays import load_specified  # noqa: PLC0415 (NumPy, which few requests need)

    with database.read() as session:
        spec = JobSpec.model_validate(get_job(session, job_id).spec, context=STORED)
    count = spec.dataset.card.test_examples
    if max(index) >= count:
        raise InvalidSpec([FieldError("?index", f"the dataset has {count:,} test images, numbered from 0")])
    dataset = load_specified(spec.dataset, settings, artifacts)
    return TestImageList(
        items=[
            TestImage(
                index=position,
                label=int(dataset.test_labels[position]),
                pixels=dataset.test_images[position].ravel().tolist(),
            )
            for position in index
        ]
    )


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

    It takes images (n, 784) scaled to 0..1 and returns the probabilities of the classes. It is not compiled:
    `predict` works at once, `evaluate` after `compile`.
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
