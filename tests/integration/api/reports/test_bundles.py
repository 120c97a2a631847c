"""Bundles over HTTP: the same bytes, the same report elsewhere, and refusals that name the file."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.bundles import METADATA, pack, unpack
from models.settings import Settings
from models.store.database import Database
from tests.applications import application
from tests.factories import finish_job, result_record
from tests.integration.api.conftest import TestClient, over_sqlite
from tests.integration.api.experiments.test_routes import DOCUMENT, create, jobs_of

Files = dict[str, bytes]


@pytest.fixture
def bundle(client: httpx.Client, database: Database) -> bytes:
    """Of two variants with two seeds each, all finished."""
    created = create(client, DOCUMENT)
    for number, job in enumerate(jobs_of(client, created)):
        finish_job(
            database, job["id"], result=result_record(test_accuracy=0.9 + number / 97, test_loss=0.1 / 3)
        )
    answer = client.get(f"{created['links']['self']}/bundle")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/zip")
    return answer.content


@pytest.fixture
def other(tmp_path: Path, migrated_sqlite: Path) -> Iterator[TestClient]:
    """Another installation, empty, without a broker."""
    home = tmp_path / "other"
    home.mkdir()
    (home / "regbench.db").write_bytes(migrated_sqlite.read_bytes())
    settings = Settings(home=home, data_dir=None, database_url=f"sqlite:///{home / 'regbench.db'}")
    with TestClient(application(settings)) as client:
        yield client


def post(client: httpx.Client, content: bytes) -> httpx.Response:
    return client.post("/v1/bundles", content=content, headers={"Content-Type": "application/zip"})


def changed(content: bytes, change: Callable[[Files], Any], *, keep_digests: bool) -> bytes:
    """The bundle with changed files, as they are or under digests that fit."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    if not keep_digests:
        del files[METADATA]
        change(files)
        return pack(files, {})
    change(files)
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archive:
        for name, document in files.items():
            archive.writestr(name, document)
    return result.getvalue()


@over_sqlite
def test_a_bundle_describes_every_file_and_stays_the_same(client: httpx.Client, bundle: bytes) -> None:
    files = unpack(bundle, most_bytes=10**8)
    assert {"experiment.json", "jobs.json", "epochs.json", "README.md", "report.html"} <= files.keys()
    assert "charts/differences.svg" in files
    experiment_id = json.loads(files["experiment.json"])["id"]
    again = client.get(f"/v1/experiments/{experiment_id}/bundle")
    assert again.content == bundle
    tag = f'"{hashlib.sha256(bundle).hexdigest()}"'
    assert again.headers["ETag"] == tag
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        graph = {item["@id"]: item for item in json.loads(archive.read(METADATA))["@graph"]}
    assert graph["./"]["identifier"] == experiment_id
    assert {item["@id"] for item in graph["./"]["hasPart"]} == files.keys()
    jobs = json.loads(files["jobs.json"])
    assert {job["result"]["weights_sha256"] for job in jobs} == {"a" * 64}
    report = json.loads(files["report.json"])
    assert report["repeat"].startswith('curl -sS "$REGBENCH_URL/v1/experiments"')
    assert max(job["finished_at"] for job in jobs)[:19] == report["generated_at"][:19]
    assert "testserver" not in files["report.md"].decode()


def test_another_installation_makes_the_same_report(
    client: httpx.Client, other: TestClient, bundle: bytes
) -> None:
    assert other.get("/v1/experiments").json()["items"] == []
    imported = post(other, bundle)
    assert imported.status_code == 201, imported.text
    experiment = imported.json()
    here = experiment["links"]["self"]
    assert imported.headers["Location"] == here
    assert other.get(f"{here}/bundle").content == bundle
    assert experiment["headline"] == client.get(here).json()["headline"]
    job = jobs_of(other, experiment)[0]
    assert job["id"] in {item["id"] for item in jobs_of(client, experiment)}
    assert len(other.get(f"/v1/jobs/{job['id']}/epochs").json()["items"]) == 3
    assert other.get(f"/v1/jobs/{job['id']}/model").status_code == 404
    assert other.get(f"/experiments/{experiment['id']}").status_code == 200
    # The same again is the same experiment, here and there.
    assert [post(each, bundle).status_code for each in (client, other)] == [201, 201]
    assert len(other.get("/v1/experiments").json()["items"]) == 1
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        documents = {name: archive.read(name) for name in archive.namelist()}

    def rename(files: Files) -> None:
        document = json.loads(files["experiment.json"])
        files["experiment.json"] = json.dumps(document | {"name": "another"}).encode()

    taken = post(other, changed(bundle, rename, keep_digests=False))
    assert (taken.status_code, taken.json()["type"].rpartition("/")[2]) == (409, "conflict")
    assert documents["report.csv"]


def _set_accuracy(files: Files) -> None:
    jobs = json.loads(files["jobs.json"])
    jobs[0]["result"]["test_accuracy"] = 0.999
    files["jobs.json"] = json.dumps(jobs).encode()


def _set_type(files: Files) -> None:
    jobs = json.loads(files["jobs.json"])
    jobs[0]["result"]["test_loss"] = "small"
    files["jobs.json"] = json.dumps(jobs).encode()


def _set(name: str, value: Any, *path: Any) -> Callable[[Files], Any]:
    """A change of one value in a document of the bundle; a callable gets the value that is there."""

    def change(files: Files) -> None:
        document = place = json.loads(files[name])
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value(place[path[-1]]) if callable(value) else value
        files[name] = json.dumps(document).encode()

    return change


TAMPERED: list[tuple[Callable[[Files], Any], bool, str]] = [
    (_set_accuracy, True, "/jobs.json"),
    (lambda files: files.pop("epochs.json"), True, "/epochs.json"),
    (lambda files: files.update({"more.md": b"more"}), True, "/more.md"),
    (lambda files: files.pop(METADATA), True, f"/{METADATA}"),
    # With digests that fit the report no longer does.
    (_set_accuracy, False, "/report.json"),
    (_set_type, False, "/experiment.json"),
    (lambda files: files.update({"report.tex": b"better"}), False, "/report.tex"),
    (lambda files: files.update({"report.json": b"[1]"}), False, "/experiment.json"),
    # A run of another purpose is not compared.
    (_set("experiment.json", "bad", "runs", 0, "purpose"), False, "/report.json"),
    # Documents that fit no table, or no report.
    *(
        (_set("experiment.json", value, *path), False, "/experiment.json")
        for value, *path in (
            ("another", "runs", 0, "variant"),
            ('{"/a": 1}', "runs", 0, "point"),
            ("no JSON", "runs", 0, "point"),
            (3, "runs", 0, "part"),
            (99, "runs", 0, "seed"),
            ("job_" + 24 * "a", "runs", 0, "job_id"),
            (lambda runs: [*runs, runs[0]], "runs"),
            (None, "document", "seeds"),
            ("0001-01-01T00:00:00", "created_at"),
            ("9999-12-31T23:59:59-12:00", "created_at"),
        )
    ),
    *(
        (_set("jobs.json", value, 0, *path), False, "/experiment.json")
        for value, *path in (
            (float("nan"), "result", "test_accuracy"),
            (1e308, "result", "test_accuracy"),
            (10**30, "result", "parameters"),
            ([[1, "a"]], "result", "confusion"),
            ({"a": 1}, "result", "robustness"),
            ({"a": 1}, "result", "diagnostics"),
            ([{"a": 1}], "result", "layers"),
            ("2020-01-01T00:00:00", "finished_at"),
        )
    ),
    (_set("epochs.json", lambda epoch: 1 if epoch == 2 else 2, 0, "epoch"), False, "/experiment.json"),
]


@over_sqlite
def test_a_bundle_that_was_tampered_with_is_refused_by_the_files_name(
    other: TestClient, bundle: bytes
) -> None:
    for change, keep_digests, name in TAMPERED:
        refused = post(other, changed(bundle, change, keep_digests=keep_digests))
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == name, refused.text
    assert other.get("/v1/experiments").json()["items"] == []
    assert other.get("/v1/jobs").json()["items"] == []


@over_sqlite
def test_no_bundle_of_a_running_experiment(client: httpx.Client) -> None:
    created = create(client, DOCUMENT)
    assert client.get(f"{created['links']['self']}/bundle").status_code == 409
    assert post(client, b"no archive").status_code == 422
