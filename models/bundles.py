"""A bundle: an experiment as one ZIP file that others can check, described by RO-Crate metadata. Pure.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) names every file with its size and SHA-256.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

from models.errors import FieldError, InvalidSpec

METADATA = "ro-crate-metadata.json"
_CONTEXT = "https://w3id.org/ro/crate/1.1"
_MEDIA_TYPES = {
    "json": "application/json",
    "md": "text/markdown",
    "csv": "text/csv",
    "tex": "application/x-tex",
    "html": "text/html",
    "svg": "image/svg+xml",
}
# What a damaged, encrypted or unusually compressed member raises.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError)


def pack(files: Mapping[str, bytes], root: Mapping[str, Any]) -> bytes:
    """The ZIP file; equal files and properties of the `root` dataset give equal bytes."""
    graph: list[dict[str, Any]] = [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": _CONTEXT},
        },
        {"@id": "./", "@type": "Dataset", **root, "hasPart": [{"@id": name} for name in sorted(files)]},
    ]
    graph += [
        {
            "@id": name,
            "@type": "File",
            "contentSize": str(len(files[name])),
            "encodingFormat": _MEDIA_TYPES[name.rpartition(".")[2]],
            "sha256": hashlib.sha256(files[name]).hexdigest(),
        }
        for name in sorted(files)
    ]
    metadata = json.dumps({"@context": f"{_CONTEXT}/context", "@graph": graph}, indent=1, ensure_ascii=False)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, document in ((METADATA, metadata.encode()), *sorted(files.items())):
            # With a date of its own the same bundle would have other bytes tomorrow.
            archive.writestr(zipfile.ZipInfo(name), document, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def unpack(content: bytes, *, most_bytes: int) -> dict[str, bytes]:
    """The files of a bundle, each as its metadata describes it; without the metadata itself.

    Raises:
        InvalidSpec: it is no bundle or too large, or a file was changed, added or removed; it names the file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > most_bytes:
                raise _build_error(METADATA, f"the bundle is larger than {most_bytes:,} bytes")
            files = {}
            for name in archive.namelist():
                try:
                    files[name] = archive.read(name)
                except _DAMAGE as error:
                    raise _build_error(name, f"the file is damaged: {error}") from None
        graph = json.loads(files.pop(METADATA))["@graph"]
        digests = {item["@id"]: item["sha256"] for item in graph if item["@type"] == "File"}
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise _build_error(METADATA, f"this is no bundle of Regbench: {type(error).__name__}") from None
    for name in sorted(files.keys() | digests.keys()):
        if name not in files:
            raise _build_error(name, "the file is missing from the bundle")
        if hashlib.sha256(files[name]).hexdigest() != digests.get(name):
            raise _build_error(name, "the file is not the one that the bundle's metadata describes")
    return files


def parse_document(files: Mapping[str, bytes], name: str) -> Any:
    """A JSON file of a bundle.

    Raises:
        InvalidSpec: it is missing or no JSON.
    """
    try:
        document = files[name]
        if b"\\u0000" in document:
            raise ValueError("NUL")
        return json.loads(document)
    except (KeyError, ValueError):
        raise _build_error(name, "the file is missing or cannot be read") from None


def _build_error(name: str, detail: str) -> InvalidSpec:
    return InvalidSpec([FieldError(f"/{name}", detail)])
