"""What others can check: model files, frozen reports, bundles."""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import httpx

from regbench.base import Items, ReportFormat, Shape
from regbench.connection import Connection
from regbench.errors import ClientError
from regbench.reports import FrozenReport, Memorization, VariantMistakes
from regbench.resources import Experiment, TestImage

_IMPORT_SECONDS = 300.0


class SharingMethods:
    """The client's methods for what leaves an installation, and what comes from another."""

    _http: Connection

    def _get(self, path: str, shape: type[Shape], **query: Any) -> Shape:
        raise NotImplementedError

    def _read(self, response: httpx.Response, shape: type[Shape]) -> Shape:
        raise NotImplementedError

    def model(self, job_id: str) -> bytes:
        """A succeeded job's model as a `.keras` file: images (n, 784) from 0 to 1 in, probabilities out.

        Raises:
            ClientError: the file was damaged on its way.
        """
        response = self._http.request("GET", f"/v1/jobs/{job_id}/model")
        digest = b64encode(hashlib.sha256(response.content).digest()).decode()
        if response.headers.get("Repr-Digest") != f"sha-256=:{digest}:":
            raise ClientError(f"The model of {job_id} was damaged on its way: its SHA-256 is another.")
        return response.content

    def test_images(self, job_id: str, indices: Sequence[int]) -> list[TestImage]:
        """Some of the test images of a job's dataset, at these places among them, up to 100."""
        return self._get(f"/v1/jobs/{job_id}/test-images", Items[TestImage], index=list(indices)).items

    def mistakes(self, experiment_id: str, *, limit: int = 20) -> list[VariantMistakes]:
        """Test images that a variant gets right and the baseline not; the nearest mistakes first."""
        path = f"/v1/experiments/{experiment_id}/mistakes"
        return self._get(path, Items[VariantMistakes], limit=limit).items

    def memorization(self, experiment_id: str, *, limit: int = 20) -> Memorization:
        """How much each variant's models memorize training images, and which; the largest estimates first."""
        return self._get(f"/v1/experiments/{experiment_id}/memorization", Memorization, limit=limit)

    def freeze_report(self, experiment_id: str) -> FrozenReport:
        """Keep the experiment's report as it is now, under an address that never changes."""
        path, key = f"/v1/experiments/{experiment_id}/reports", {"Idempotency-Key": str(uuid4())}
        return self._read(self._http.request("POST", path, headers=key, idempotent=True), FrozenReport)

    def frozen_reports(self, experiment_id: str) -> list[FrozenReport]:
        """The reports of an experiment that were kept, newest first."""
        return self._get(f"/v1/experiments/{experiment_id}/reports", Items[FrozenReport]).items

    def delete_frozen_report(self, digest: str) -> None:
        """Remove a frozen report for ever: its address then leads to nothing."""
        self._http.request("DELETE", f"/v1/reports/{digest}")

    def frozen_report(self, digest: str, form: ReportFormat) -> bytes:
        """A report as it was when it was frozen, to the byte."""
        return self._http.request("GET", f"/v1/reports/{digest}", params={"format": form}).content

    def bundle(self, experiment_id: str) -> bytes:
        """A finished experiment as a ZIP file that others can verify and import."""
        return self._http.request("GET", f"/v1/experiments/{experiment_id}/bundle").content

    def import_bundle(self, content: bytes) -> Experiment:
        """Store a bundle's experiment under its ids; the same bundle twice is one experiment."""
        headers = {"Content-Type": "application/zip"}
        response = self._http.request(
            "POST", "/v1/bundles", content=content, headers=headers, idempotent=True, timeout=_IMPORT_SECONDS
        )
        return self._read(response, Experiment)
