"""The form with which a dataset is uploaded: streamed to the disk, never whole in memory."""

import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from api.datasets.files import UploadedFile
from api.datasets.schemas import DatasetOptions
from api.http import problem_types
from api.http.bodies import validate_json
from api.http.dependencies import SettingsDep
from api.http.openapi import RequestBody, documented
from api.http.problems import Problem
from models.errors import FieldError, InvalidSpec

MOST_FILES = 64
_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["name", "files"],
    "properties": {
        "name": {"type": "string", "description": "For specifications; unique among the owner's datasets"},
        "files": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "maxItems": MOST_FILES,
            "description": "IDX, npz, npy or CSV files, gzipped or not; a zip of IDX files or of folders of "
            "PNGs or JPEGs; Parquet with their bytes. `train` and `test` (or `t10k`) in their names tell "
            "the parts",
        },
        "options": {"$ref": "#/components/schemas/DatasetOptions"},
    },
}


@dataclass(frozen=True)
class Upload:
    """A form that was received."""

    name: str
    options: DatasetOptions
    files: list[UploadedFile]
    folder: Path
    """Of the files; whatever lies in it is removed after the response."""


@dataclass
class _BoundedBody:
    """The body of a request as it streams in."""

    request: Request
    limit: int
    size: int = 0
    tail: bytes = field(default=b"")
    """Its last bytes so far."""

    async def stream(self) -> AsyncGenerator[bytes]:
        async for chunk in self.request.stream():
            self.size += len(chunk)
            if self.size > self.limit:
                raise Problem(
                    problem_types.BODY_TOO_LARGE,
                    f"This installation accepts datasets of at most {self.limit:,} bytes.",
                )
            self.tail = (self.tail + chunk)[-200:]
            yield chunk


@documented(
    problem_types.BODY_TOO_LARGE,
    problem_types.UNSUPPORTED_MEDIA_TYPE,
    problem_types.NOT_JSON,
    problem_types.INVALID_SPEC,
    body=RequestBody(DatasetOptions, formats={"multipart/form-data": _FORM}, is_json=False),
)
async def receive_upload(request: Request, settings: SettingsDep) -> AsyncIterator[Upload]:
    """The posted form, its files on the disk until the response is sent."""
    kind, parameters = parse_options_header(request.headers.get("Content-Type", ""))
    if kind != b"multipart/form-data":
        raise Problem(
            problem_types.UNSUPPORTED_MEDIA_TYPE,
            f"The body is declared as {kind.decode('latin-1') or 'nothing'}; send multipart/form-data.",
        )
    body = _BoundedBody(request, settings.max_dataset_bytes)
    parser = MultiPartParser(
        request.headers, body.stream(), max_files=MOST_FILES, max_fields=2, max_part_size=65_536
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidSpec([FieldError("", f"the form cannot be read: {error.message}")]) from None
    with tempfile.TemporaryDirectory(prefix="regbench-dataset-") as folder:
        try:
            # The parser would not miss the end of a form that was cut off.
            if b"--" + parameters.get(b"boundary", b"") + b"--" not in body.tail:
                raise InvalidSpec([FieldError("", "the form has no end: its last boundary is missing")])
            upload = await run_in_threadpool(_read_form, form, Path(folder))
        finally:
            await form.close()
        yield upload


UploadDep = Annotated[Upload, Depends(receive_upload)]


def _read_form(form: FormData, folder: Path) -> Upload:
    """The form's fields, its files copied into `folder`.

    Raises:
        InvalidSpec: a field is missing, invalid or not known.
    """
    texts: dict[str, str] = {}
    files: list[UploadedFile] = []
    for field_name, part in form.multi_items():
        if field_name == "files" and isinstance(part, UploadFile):
            path = folder / f"upload-{len(files)}"
            with path.open("wb") as target:
                shutil.copyfileobj(part.file, target, 1 << 20)
            # The end of a path, as some browsers send it.
            name = (part.filename or "").replace("\\", "/").rpartition("/")[2]
            files.append(UploadedFile(name[:200] or f"file {len(files) + 1}", path))
        elif field_name in {"name", "options"}:
            texts[field_name] = (
                part if isinstance(part, str) else part.file.read(65_536).decode("utf-8", "replace")
            )
        else:
            raise InvalidSpec([FieldError(f"/{field_name}", "no such field; send name, files and options")])
    if not files:
        raise InvalidSpec([FieldError("/files", "send at least one file, as in: curl -F files=@train.csv")])
    try:
        options = validate_json(DatasetOptions, (texts.get("options") or "{}").encode())
    except InvalidSpec as error:
        faults = [FieldError(f"/options{fault.pointer}", fault.detail) for fault in error.errors]
        raise InvalidSpec(faults) from None
    except Problem as error:
        raise InvalidSpec([FieldError("/options", error.detail)]) from None
    return Upload(texts.get("name", "").strip(), options, files, folder)
