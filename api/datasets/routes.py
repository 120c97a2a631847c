"""Datasets over HTTP: the built-in ones, and those that a caller uploads."""

import hashlib
import re
from typing import TYPE_CHECKING, Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Path, Query, Request, Response, status

from api.api_keys import record_audit_event
from api.datasets import schemas
from api.datasets.files import UnreadableData
from api.datasets.uploads import Upload, UploadDep
from api.http import problem_types
from api.http.dependencies import ArtifactsDep, CallerDep, DatabaseDep, SettingsDep
from api.http.openapi import documented
from api.http.routing import StrictQueryRoute
from models.artifacts import get_dataset_file
from models.dataset_cards import DATASETS, IDX_FILES, NAME_PATTERN, DatasetCard, DatasetContent
from models.datasets import is_available
from models.errors import Conflict, FieldError, InvalidSpec, NotFound
from models.settings import Settings
from models.store import datasets as store
from models.store.tables import Dataset

if TYPE_CHECKING:
    from api.datasets.importing import ImportedDataset

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=StrictQueryRoute)

Name = Annotated[str, Path(description="As in a specification: `mnist_5k`")]
_MEGABYTE = 1_000_000


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=schemas.Dataset | schemas.DatasetPreview,
    responses={200: {"model": schemas.DatasetPreview, "description": "What a dry run would store"}},
)
@documented(problem_types.CONFLICT, headers=("Location",))
async def create_dataset(
    upload: UploadDep,
    caller: CallerDep,
    database: DatabaseDep,
    settings: SettingsDep,
    artifacts: ArtifactsDep,
    request: Request,
    response: Response,
    dry_run: Annotated[bool, Query(description="Show what was read and decided; store nothing")] = False,
) -> Any:
    """Upload a dataset; again with the same name and content, it is the same dataset.

    Where the files have no test data, a seeded, stratified share becomes it. `?dry_run=true` shows 64 images,
    the classes and what was decided.
    """

    def save() -> schemas.Dataset:
        imported = _read(upload, settings)
        new = _describe(caller.owner, upload.name, imported)
        limits = {"most_datasets": settings.max_datasets, "most_megabytes": settings.max_datasets_mb}
        with database.read() as session:
            existing = store.check_name(session, new, **limits)
        if dry_run:
            row = store.build_row(new)
            return schemas.DatasetPreview(**vars(serialize_uploaded(row)), images=imported.build_preview())
        file = get_dataset_file(imported.digest)
        if existing is None and not artifacts.has(file):
            imported.write_archive(upload.folder / "archive.npz")
            artifacts.put_file(file, upload.folder / "archive.npz")
        with database.write() as session:
            store.lock_content(session, new.owner, imported.digest)
            existing = store.check_name(session, new, **limits)
            if existing is None:
                if not artifacts.has(file):  # the last other name for it was deleted meanwhile
                    imported.write_archive(upload.folder / "archive.npz")
                    artifacts.put_file(file, upload.folder / "archive.npz")
                existing = store.create_dataset(session, new)
                record_audit_event(session, "dataset_created", existing.name, caller, request)
            return serialize_uploaded(existing)

    limiter: CapacityLimiter = request.app.state.import_limiter
    body = await to_thread.run_sync(save, limiter=limiter)
    if dry_run:
        response.status_code = status.HTTP_200_OK
    else:
        response.headers["Location"] = f"/v1/datasets/{body.name}"
    return body


def _read(upload: Upload, settings: Settings) -> "ImportedDataset":
    from api.datasets.importing import import_dataset  # noqa: PLC0415 (NumPy and Pillow, which other requests need not wait for)

    if not re.fullmatch(NAME_PATTERN, upload.name):
        detail = "1 to 63 letters, digits, dots, dashes and underscores, the first a letter or digit"
        raise InvalidSpec([FieldError("/name", detail)])
    try:
        return import_dataset(
            upload.files, upload.options, upload.folder, settings.max_datasets_mb * _MEGABYTE
        )
    except UnreadableData as fault:
        raise InvalidSpec([FieldError("/files", str(fault))]) from None


def _describe(owner: str, name: str, imported: "ImportedDataset") -> store.NewDataset:
    content = DatasetContent(
        digest=imported.digest,
        classes=len(imported.class_names),
        train_examples=len(imported.train.order),
        test_examples=len(imported.test.order),
    )
    summary = {
        "counts": [count.model_dump() for count in imported.counts],
        "decisions": [decision.model_dump() for decision in imported.decisions],
        "warnings": imported.warnings,
    }
    return store.NewDataset(owner, name, content, summary)


@router.get("")
def list_datasets(caller: CallerDep, database: DatabaseDep, settings: SettingsDep) -> schemas.DatasetList:
    """Every dataset that jobs may name: the built-in ones, then one's own."""
    with database.read() as session:
        uploaded = [serialize_uploaded(row) for row in store.find_datasets(session, caller.owner)]
    built_in = [serialize_built_in(card, settings) for card in DATASETS.values()]
    return schemas.DatasetList(items=[*built_in, *uploaded])


@router.get("/{name}")
@documented(problem_types.NOT_FOUND)
def show_dataset(
    name: Name, caller: CallerDep, database: DatabaseDep, settings: SettingsDep
) -> schemas.Dataset:
    """One dataset."""
    if name in DATASETS:
        return serialize_built_in(DATASETS[name], settings)
    with database.read() as session:
        return serialize_uploaded(store.get_dataset(session, caller.owner, parse_name(name)))


@router.delete("/{name}", status_code=status.HTTP_204_NO_CONTENT)
@documented(problem_types.NOT_FOUND, problem_types.CONFLICT)
def delete_dataset(
    name: Name, caller: CallerDep, database: DatabaseDep, artifacts: ArtifactsDep, request: Request
) -> None:
    """Remove an uploaded dataset; 409 while a job waits for it or trains on it. Results and models stay."""
    if name in DATASETS:
        raise Conflict(f"{name} is a built-in dataset.")
    with database.write() as session:
        store.delete_dataset(session, artifacts, caller.owner, parse_name(name))
        record_audit_event(session, "dataset_deleted", name, caller, request)


def parse_name(name: str) -> str:
    """A name that a dataset can have.

    Raises:
        NotFound: it cannot.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise NotFound("There is no dataset of that name.")
    return name


def serialize_built_in(card: DatasetCard, settings: Settings) -> schemas.Dataset:
    """A built-in dataset's card as the API shows it."""
    return schemas.Dataset(
        name=card.name,
        title=card.title,
        licence=card.licence,
        built_in=True,
        available=is_available(card.name, settings),
        digest=hashlib.sha256("".join(card.sha256).encode()).hexdigest(),
        classes=card.classes,
        train_examples=card.train_examples,
        test_examples=card.test_examples,
        sha256=dict(zip(IDX_FILES, card.sha256, strict=True)),
        counts=[],
        decisions=[],
        warnings=[],
        created_at=None,
    )


def serialize_uploaded(row: Dataset) -> schemas.Dataset:
    """An uploaded dataset as the API shows it."""
    examples = row.train_examples + row.test_examples
    return schemas.Dataset(
        name=row.name,
        title=f"Uploaded: {examples:,} images, {len(row.summary['counts'])} classes",
        licence=None,
        built_in=False,
        available=True,
        digest=row.digest,
        classes=len(row.summary["counts"]),
        train_examples=row.train_examples,
        test_examples=row.test_examples,
        sha256=None,
        **row.summary,
        created_at=row.created_at,
    )
