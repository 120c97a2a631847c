"""Every curl command of reports, pages, forms and docs, run by a shell against a real server."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.http.curl import format_curl
from models.documents import merge_patch
from models.scopes import Scope
from models.settings import Settings
from models.store.database import Database
from models.store.keys import create_key
from models.store.tables import LOCAL_OWNER
from tests.acceptance.pages import shell_blocks
from tests.factories import EVERY_TECHNIQUE_TOGETHER, finished_job, job_spec
from tests.integration.api.serving import serving

HOSTILE_NAME = 'it\'s "$HOME" `id` \\ % ! #\n名前 \u202e\x9b\u2028 😀 '.ljust(100, "x")
PLAIN = {"model": {"hidden_units": [8]}, "training": {"epochs": 1}}
NAMED = {"name": "it's", "dataset": {"name": "mnist_5k"}}
EXPERIMENT = {
    "name": "plain",
    "base": {"dataset": {"name": "mnist_5k"}, **PLAIN},
    "variants": [{"name": "none"}, {"name": "l2", "changes": {"regularization": {"l2": {}}}}],
    "seeds": [0],
}
HOSTILE = EXPERIMENT | {
    "name": HOSTILE_NAME * 2,
    "variants": [{"name": HOSTILE_NAME}, {"name": "' ; exit 1 #"}],
}
CONFOUNDED = EXPERIMENT | {
    "allow_confounders": True,
    "variants": [
        {"name": "none"},
        {"name": "cnn", "changes": {"model": {"family": "cnn", "filters": [8]}, "training": {"epochs": 2}}},
    ],
}
CASES = {
    "plain": (EXPERIMENT, [{}, {"regularization": {"l2": {}}}]),
    "hostile": (HOSTILE, [{"name": HOSTILE_NAME, "labels": {"team": HOSTILE_NAME}}]),
    "confounded": (
        CONFOUNDED,
        [
            {},
            {"training": {"epochs": 2, "optimizer": {"name": "sgd", "momentum": 0.5}}},
            {"model": {"family": "cnn", "filters": [8]}},
            {"dataset": {"train_samples": 500}},
            {"regularization": {name: {} for name in EVERY_TECHNIQUE_TOGETHER}},
        ],
    ),
}


class Shell:
    """A client of a real server, and a shell that runs what it prints."""

    def __init__(self, url: str, key: str) -> None:
        self._environment = os.environ | {"REGBENCH_API_KEY": key}
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"} if key else {})

    def run(self, line: str) -> dict[str, Any]:
        """The service's response to a curl command."""
        assert "\n" not in line
        answer: dict[str, Any] = json.loads(self.execute(line))
        assert "id" in answer, answer
        return answer

    def execute(self, script: str, folder: Path | None = None) -> bytes:
        """The output of a script, which must succeed."""
        return subprocess.run(
            ["bash", "-c", script],  # noqa: S607 (the reader has a shell on the PATH)
            env=self._environment,
            cwd=folder,
            capture_output=True,
            check=True,
            timeout=30,
        ).stdout

    def get_page(self, path: str, pattern: str) -> str:
        """The part of a page that a pattern matches."""
        page = self.client.get(path, headers={"Accept": "text/html"}, follow_redirects=True)
        match = re.search(pattern, page.text, re.DOTALL)
        assert match, page.text
        return unescape(match[1])

    def post(self, document: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post("/v1/experiments", json=document)
        assert answer.status_code == 202, answer.text
        created: dict[str, Any] = answer.json()
        return created


# Without keys over one kind of database, and with keys over the other.
open_and_with_keys = pytest.mark.parametrize(
    ("shell", "database_settings"),
    [("false", "sqlite"), ("auto", "postgresql")],
    indirect=True,
    ids=["open", "with keys"],
)


@pytest.fixture
def shell(
    request: pytest.FixtureRequest, settings_with_broker: Settings, database: Database
) -> Iterator[Shell]:
    key = ""
    if request.param == "auto":
        with database.write() as session:
            key = create_key(session, name="test", owner=LOCAL_OWNER, scope=Scope.WRITE)[1]
    with serving(settings_with_broker.model_copy(update={"api_keys_required": request.param})) as port:
        shell = Shell(f"http://127.0.0.1:{port}", key)
        with shell.client:
            yield shell


@open_and_with_keys
@pytest.mark.parametrize("case", CASES)
def test_f7_the_command_of_an_experiments_report_repeats_it(shell: Shell, case: str) -> None:
    document = CASES[case][0]
    created = shell.post(document)
    report = f"/v1/experiments/{created['id']}/report"
    lines = [
        re.findall(r"^    (curl .*)", shell.client.get(f"{report}?format=md").text, re.MULTILINE)[0],
        shell.get_page(f"{report}?format=html", r"(curl -sS[^<]*)"),
    ]
    for line in lines:
        again = shell.run(line)
        assert (again["name"], again["spec"]) == (created["name"], created["spec"])


@open_and_with_keys
@pytest.mark.parametrize("case", CASES)
def test_f7_the_command_of_a_report_over_jobs_trains_the_same_networks(
    shell: Shell, database: Database, case: str
) -> None:
    jobs = [finished_job(database, job_spec(**changes)) for changes in CASES[case][1]]
    text = shell.client.get("/v1/reports", params={"job": [job.id for job in jobs], "format": "md"}).text
    again = shell.run(re.findall(r"^    (curl .*)", text, re.MULTILINE)[0])
    items = shell.client.get("/v1/jobs", params={"experiment": again["id"]}).json()["items"]
    assert {item["spec_hash"] for item in items} == {job.spec_hash for job in jobs}
    assert all(len(variant["name"]) <= 100 for variant in again["spec"]["variants"])


@open_and_with_keys
@pytest.mark.parametrize("case", CASES)
def test_f7_the_command_of_a_jobs_page_submits_the_same_job(
    shell: Shell, database: Database, case: str
) -> None:
    for changes in CASES[case][1]:
        job = finished_job(database, job_spec(**changes))
        again = shell.run(shell.get_page(f"/jobs/{job.id}", r'<pre id="curl"[^>]*>(.*?)</pre>'))
        assert (again["name"], again["spec_hash"], again["labels"]) == (job.name, job.spec_hash, job.labels)


@open_and_with_keys
@pytest.mark.parametrize("case", CASES)
def test_f7_the_commands_of_the_forms_submit(shell: Shell, case: str) -> None:
    experiment, jobs = CASES[case]
    documents = {
        "/v1/jobs": [merge_patch(NAMED, changes) for changes in jobs],
        "/v1/experiments": [experiment],
    }
    for path, bodies in documents.items():
        for document in bodies:
            line = shell.client.post("/new/curl", params={"path": path}, json=document).json()
            assert line.isprintable()
            assert shell.run(line)["name"] == document["name"]


@open_and_with_keys
def test_f7_a_large_experiment_in_chinese_is_not_too_large_to_repeat(shell: Shell) -> None:
    changes = {"regularization": {"l2": {}, "dropout": {}}}
    variants = [{"name": f"{'名' * 97} {index}", "changes": changes} for index in range(100)]
    created = shell.post(EXPERIMENT | {"name": "名" * 200, "variants": variants})
    text = shell.client.get(f"/v1/experiments/{created['id']}/report?format=md").text
    shell.run(re.findall(r"^    (curl .*)", text, re.MULTILINE)[0])


def test_f7_a_command_contains_no_terminal_control_characters(settings: Settings) -> None:
    line = format_curl(settings, "http://localhost/", "/v1/jobs", {"name": HOSTILE_NAME})
    assert line.isprintable()
    assert "名前" in line


@open_and_with_keys
@pytest.mark.parametrize("page", ["find-jobs", "follow-a-job", "own-experiment", "submit-safely"])
def test_f7_the_commands_of_the_how_to_pages_succeed(
    shell: Shell, database: Database, page: str, tmp_path: Path
) -> None:
    url = str(shell.client.base_url).rstrip("/")
    blocks = "".join(shell_blocks(f"docs/how-to/{page}.md")).replace("http://127.0.0.1:8000", url)
    assert blocks.count("curl ") >= 2
    # A refused request ends the shell, and the key is sent where one is required.
    script = f"""set -euo pipefail
    JOB={finished_job(database).id}
    curl() {{ command curl --fail ${{REGBENCH_API_KEY:+-H "Authorization: Bearer $REGBENCH_API_KEY"}} "$@"; }}
    {blocks.replace('{"seed"', '{"dataset": {"name": "mnist_5k"}, "seed"')}"""
    shell.execute(script, tmp_path)
