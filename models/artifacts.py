"""Files that jobs leave behind (models, predictions), in a folder or an object store, through fsspec."""

import hashlib
import posixpath
from typing import Any

import fsspec

from models.errors import NotFound
from models.settings import Settings


class ArtifactStore:
    """Named byte strings under one address. Names come from the service, never from a user."""

    def __init__(self, settings: Settings) -> None:
        self._files: Any
        self._root: str
        self._files, self._root = fsspec.core.url_to_fs(settings.resolved_artifacts_url, auto_mkdir=True)

    def put(self, name: str, content: bytes) -> str:
        """Keep `content` under `name`, whole or not at all; returns its SHA-256."""
        path = self._path(name)
        self._files.makedirs(posixpath.dirname(path), exist_ok=True)
        with self._files.transaction, self._files.open(path, "wb") as file:
            file.write(content)
        return hashlib.sha256(content).hexdigest()

    def get(self, name: str, *, sha256: str) -> bytes:
        """The bytes under `name`.

        Raises:
            NotFound: they are gone, or are not the ones that were kept.
        """
        try:
            content: bytes = self._files.cat_file(self._path(name))
        except FileNotFoundError:
            raise NotFound(f"The file {name} is no longer kept.") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise NotFound(f"The file {name} is damaged: its SHA-256 is not the one recorded.")
        return content

    def remove(self, name: str) -> None:
        """Forget the bytes under `name`, if they are there."""
        if self._files.exists(self._path(name)):
            self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, name)
