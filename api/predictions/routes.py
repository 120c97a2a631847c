"""What trained models make of images, over HTTP. Another process computes it: worker/predictor.py."""

import sys
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, FailFast, Field
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from api.http import problem_types
from api.http.bodies import read_body_limited, read_json, validate_json
from api.http.dependencies import DatabaseDep, JobId, SettingsDep, get_caller, parse_id
from api.http.openapi import RequestBody, documented
from api.http.problems import Problem, format_json_pointer
from api.http.routing import StrictQueryRoute
from api.predictions import schemas
from models import predictions
from models.dataset_spec import DatasetSpec
from models.errors import FieldError, InvalidSpec, PredictorUnavailable
from models.predictions import (
    MOST_DROPOUT_SAMPLES,
    MOST_IMAGES,
    MOST_JOBS,
    MOST_PASSES,
    Choice,
    Probabilities,
    Spread,
)
from models.settings import Settings
from models.spec import SIDE, STORED, JobSpec
from models.store.database import Database
from models.store.datasets import find_class_names
from models.store.jobs import get_jobs, get_result
from models.techniques import CATALOGUE

if TYPE_CHECKING:
    from api.predictions.image_files import Grey

router = APIRouter(tags=["predictions"], route_class=StrictQueryRoute)

Pixel = Annotated[float, Field(ge=0, le=255, allow_inf_nan=False)]
Row = Annotated[list[Pixel], FailFast(), Field(min_length=SIDE, max_length=SIDE)]
Square = Annotated[list[Row], FailFast(), Field(min_length=SIDE, max_length=SIDE)]


class PostedImages(BaseModel):
    """Images of 28x28 pixels as numbers, row by row from the top: light ink on black, as MNIST has them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    images: Annotated[list[Square], FailFast(), Field(min_length=1, max_length=MOST_IMAGES)]
    scale: Literal["byte", "unit"] = Field("byte", description="`byte`: 0 to 255; `unit`: 0 to 1")


class Images(NamedTuple):
    """Posted images."""

    pixels: "Grey"
    """(n, 28, 28), 0 to 1."""
    warnings: Sequence[Sequence[str]]
    """What is doubtful about each."""


@dataclass(frozen=True)
class Limits:
    """What one API process does at once for predictions."""

    reading: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    """One request's files at a time: decoded, they may take 130 MB."""
    waiting: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(32))
    """Threads of their own, so that who waits for a prediction keeps no other request waiting."""
    waiting_of_owner: Counter[str | None] = field(default_factory=Counter)


_DROPOUT_ADVICE = "a model with " + " or ".join(name for name, kind in CATALOGUE.items() if kind.drops_units)
_UNSURE = 0.5
"""A confidence below which an answer says that the model is unsure."""
_FILE = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": {"type": "array", "items": _FILE, "maxItems": MOST_IMAGES}},
}
_FORMATS: dict[str, dict[str, Any]] = {"image/png": _FILE, "image/jpeg": _FILE, "multipart/form-data": _FORM}


@documented(
    problem_types.BODY_TOO_LARGE,
    problem_types.UNSUPPORTED_MEDIA_TYPE,
    problem_types.NOT_JSON,
    problem_types.INVALID_SPEC,
    body=RequestBody(PostedImages, formats=_FORMATS),
)
async def parse_images(
    request: Request,
    settings: SettingsDep,
    invert: Annotated[Choice, Query(description="Files: whether ink is dark; auto: by the border")] = "auto",
    center: Annotated[
        Choice,
        Query(description="Files: whether to box and centre the digit as MNIST does; auto: unless 28x28"),
    ] = "auto",
) -> Images:
    """The posted images."""
    limits: Limits = request.app.state.limits
    essence = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if essence == "application/json":
        body = await read_json(request, settings.max_upload_bytes)
        return await to_thread.run_sync(_read_json, body, limiter=limits.reading)
    if essence in ("image/png", "image/jpeg", "image/jpg"):  # the last is no registered name, but common
        files, pointers = [await read_body_limited(request, settings.max_upload_bytes)], [""]
    elif essence == "multipart/form-data":
        body = await read_body_limited(request, settings.max_upload_bytes)
        files = await _read_upload(request, body)
        pointers = [f"/image/{index}" for index in range(len(files))]
    else:
        raise Problem(
            problem_types.UNSUPPORTED_MEDIA_TYPE,
            f"The body is declared as {essence or 'nothing'}; send application/json, {', '.join(_FORMATS)}.",
        )
    return await to_thread.run_sync(_read_files, files, pointers, invert, center, limiter=limits.reading)


def _read_files(files: Sequence[bytes], pointers: Sequence[str], invert: Choice, center: Choice) -> Images:
    from api.predictions import image_files  # noqa: PLC0415 (NumPy and Pillow, which who asks for no prediction need not wait for)

    return Images(*image_files.read_images(files, pointers, image_files.Treatment(invert, center)))


def _read_json(body: bytes) -> Images:
    posted = validate_json(PostedImages, body)
    from api.predictions import image_files  # noqa: PLC0415 (as above)

    pixels = image_files.read_numbers(posted.images, posted.scale)
    return Images(pixels, [[] if image.any() else ["nothing is drawn"] for image in pixels])


class _InMemory(MultiPartParser):
    """Writes nothing to the disk: the whole body was small enough to be read."""

    spool_max_size = sys.maxsize


async def _read_upload(request: Request, body: bytes) -> list[bytes]:
    """The files named `image` of a form.

    Raises:
        InvalidSpec: it is no such form, or has other fields or too many.
    """

    async def whole() -> AsyncGenerator[bytes]:
        yield body

    # The parser would not miss the end of a form that was cut off, nor what had begun before.
    _, options = parse_options_header(request.headers["Content-Type"])
    if b"\r\n--" + options.get(b"boundary", b"") + b"--" not in b"\r\n" + body:
        raise InvalidSpec([FieldError("", "the form has no end: its last boundary is missing")])
    parser = _InMemory(request.headers, whole(), max_files=MOST_IMAGES, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidSpec([FieldError("", f"the form cannot be read: {error.message}")]) from None
    try:
        parts = form.multi_items()
        others = [name for name, part in parts if name != "image" or not isinstance(part, UploadFile)]
        if others or not parts:
            hint = "send files named image, as in: curl -F image=@seven.png"
            raise InvalidSpec([FieldError(format_json_pointer(others[:1]), hint)])
        return [await part.read() for _, part in parts if isinstance(part, UploadFile)]
    finally:
        await form.close()


ImagesDep = Annotated[Images, Depends(parse_images)]
Include = Annotated[
    Literal["images"] | None, Query(description="`images`: also return the images that the model received")
]
DropoutSamples = Annotated[
    int | None,
    Query(
        ge=2,
        le=MOST_DROPOUT_SAMPLES,
        description="Passes with active dropout (Gal and Ghahramani 2016): mean probabilities and their "
        f"spread; at most {MOST_PASSES:,} passes over all images and models",
    ),
]


@router.post("/v1/jobs/{job_id}/predict")
@documented(problem_types.CONFLICT, problem_types.PREDICTOR_UNAVAILABLE)
async def predict_images(
    job_id: JobId,
    images: ImagesDep,
    database: DatabaseDep,
    settings: SettingsDep,
    request: Request,
    include: Include = None,
    dropout_samples: DropoutSamples = None,
) -> schemas.Predictions:
    """What a succeeded job's model makes of images: JSON, one PNG or JPEG file, or a form of such files."""
    [prediction] = await _predict(request, database, settings, [job_id], images, dropout_samples)
    return schemas.Predictions(
        **vars(prediction),
        images=_encode_images(images.pixels, include),
    )


@router.post("/v1/predict")
@documented(problem_types.NOT_FOUND, problem_types.CONFLICT, problem_types.PREDICTOR_UNAVAILABLE)
async def predict_with_models(
    job: Annotated[list[str], Query(min_length=1, max_length=MOST_JOBS, description="Succeeded jobs")],
    images: ImagesDep,
    database: DatabaseDep,
    settings: SettingsDep,
    request: Request,
    include: Include = None,
    dropout_samples: DropoutSamples = None,
) -> schemas.PredictionsByJob:
    """What several jobs' models make of the same images, in the order of the jobs."""
    job_ids = [parse_id("job", item) for item in dict.fromkeys(job)]
    items = await _predict(request, database, settings, job_ids, images, dropout_samples)
    return schemas.PredictionsByJob(items=items, images=_encode_images(images.pixels, include))


async def _predict(
    request: Request,
    database: Database,
    settings: Settings,
    job_ids: Sequence[str],
    images: Images,
    samples: int | None,
) -> list[schemas.JobPredictions]:
    passes = (samples or 1) * len(job_ids) * len(images.pixels)
    if passes > MOST_PASSES:
        advice = f"{passes:,} passes (samples x models x images) are over {MOST_PASSES:,}; send fewer images"
        raise InvalidSpec([FieldError("?dropout_samples", advice)])

    limits: Limits = request.app.state.limits
    if limits.waiting.available_tokens < 1:
        raise PredictorUnavailable(
            f"{limits.waiting.borrowed_tokens} requests are already waiting for predictions."
        )
    owner, most = get_caller(request).limited_owner, settings.max_predictions_per_owner
    if owner is not None and limits.waiting_of_owner[owner] >= most:
        raise PredictorUnavailable(f"{most} requests of yours are already waiting for predictions.")
    limits.waiting_of_owner[owner] += 1
    try:
        return await to_thread.run_sync(
            _ask_predictor, database, settings, job_ids, images, samples, limiter=limits.waiting
        )
    finally:
        limits.waiting_of_owner[owner] -= 1
        if not limits.waiting_of_owner[owner]:
            del limits.waiting_of_owner[owner]


def _ask_predictor(
    database: Database, settings: Settings, job_ids: Sequence[str], images: Images, samples: int | None
) -> list[schemas.JobPredictions]:
    class_names = []
    with database.read() as session:
        for job in get_jobs(session, job_ids):
            get_result(job)
            techniques = JobSpec.model_validate(job.spec, context=STORED).regularization.active
            if samples and not any(technique.drops_units for technique in techniques.values()):
                advice = f"the model of {job.id} was trained without dropout; leave this out, or choose "
                raise InvalidSpec([FieldError("?dropout_samples", advice + _DROPOUT_ADVICE)])
            dataset = DatasetSpec.model_validate(job.spec["dataset"])
            class_names.append(find_class_names(session, job.owner, dataset))
    # As worker/predictor.py reads them.
    pixels = images.pixels.astype("<f4").tobytes()
    spreads: Sequence[Sequence[Spread | None]]
    if samples:
        by_job, spreads = predictions.sample_dropout(settings, job_ids, pixels, samples)
    else:
        by_job = predictions.predict(settings, job_ids, pixels)
        spreads = [[None] * len(images.pixels)] * len(job_ids)
    return [
        schemas.JobPredictions(
            job_id=job_id,
            predictions=_build_predictions(probabilities, images.warnings, of_images),
            class_names=names,
        )
        for job_id, probabilities, of_images, names in zip(job_ids, by_job, spreads, class_names, strict=True)
    ]


def _build_predictions(
    probabilities: Probabilities,
    warnings: Sequence[Sequence[str]],
    spreads: Sequence[Spread | None],
) -> list[schemas.Prediction]:
    predictions = []
    for of_classes, doubts, spread in zip(probabilities, warnings, spreads, strict=True):
        confidence = max(of_classes)
        label = of_classes.index(confidence)
        unsure = [f"the model is unsure: {confidence:.0%} for a {label}"] if confidence < _UNSURE else []
        predictions.append(
            schemas.Prediction(
                label=label,
                confidence=confidence,
                probabilities=of_classes,
                warnings=[*doubts, *unsure],
                dropout=schemas.DropoutSpread(**spread) if spread else None,
            )
        )
    return predictions


def _encode_images(pixels: "Grey", include: str | None) -> list[list[list[int]]] | None:
    return (255 * pixels).round().astype(int).tolist() if include else None
