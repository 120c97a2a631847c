"""Experiments over HTTP, on each database."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import httpx
import pytest
from sqlalchemy import event

from models.documents import merge_patch
from models.statistics import compute_detectable_difference
from models.store import queue
from models.store.database import Database
from tests.factories import finish_job, finished_job, job_spec, result_record
from tests.integration.api.conftest import TestClient

DOCUMENT: dict[str, Any] = {
    "name": "small",
    "base": {"dataset": {"name": "mnist_5k"}, "model": {"hidden_units": [16]}, "training": {"epochs": 2}},
    "variants": [
        {"name": "none"},
        {"name": "dropout", "changes": {"regularization": {"dropout": {"rate": 0.5}}}},
    ],
    "seeds": [3, 7],
}


def create(client: httpx.Client, document: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/v1/experiments", json=document)
    assert answer.status_code == 202, answer.text
    experiment: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == experiment["links"]["self"]
    return experiment


def jobs_of(client: httpx.Client, experiment: dict[str, Any]) -> list[dict[str, Any]]:
    """Oldest first."""
    jobs: list[dict[str, Any]] = client.get(f"{experiment['links']['jobs']}&limit=200").json()["items"]
    return jobs[::-1]


def test_an_experiment_creates_a_job_for_each_variant_and_seed(client: httpx.Client) -> None:
    experiment = create(client, DOCUMENT)
    assert experiment["baseline"] == "none"
    assert experiment["preset"] is None
    assert (experiment["best"], experiment["no_best"]) == (None, "A job has not ended.")
    assert experiment["progress"]["counts"]["queued"] == experiment["progress"]["total"] == 4
    jobs = jobs_of(client, experiment)
    assert [(job["variant"], job["spec"]["seed"]) for job in jobs] == [
        ("none", 3),
        ("dropout", 3),
        ("none", 7),
        ("dropout", 7),
    ]
    assert [job["spec"]["regularization"] for job in jobs[:2]] == [
        {},
        {"dropout": {"rate": 0.5, "input_rate": 0.0}},
    ]
    assert client.get(experiment["links"]["self"]).json() == experiment


def test_progress_counts_and_validation_chooses(client: httpx.Client, database: Database) -> None:
    experiment = create(client, DOCUMENT)
    jobs = jobs_of(client, experiment)
    # The test images prefer the one, the validation images the other.
    records = {
        "none": result_record(test_accuracy=0.9),
        "dropout": result_record(test_accuracy=0.8, validation_loss=0.1),
    }
    for job in jobs[:2]:
        finish_job(database, job["id"], result=records[job["variant"]])
    current = client.get(experiment["links"]["self"]).json()
    assert current["progress"]["counts"] == experiment["progress"]["counts"] | {"queued": 2, "succeeded": 2}
    assert (current["progress"]["percent"], current["progress"]["finished"]) == (50.0, False)
    assert current["progress"]["eta_seconds"] == pytest.approx(2 * 4.5)
    assert current["best"] is None
    for job in jobs[2:]:
        finish_job(database, job["id"], result=records[job["variant"]])
    done = client.get(experiment["links"]["self"])
    assert done.json()["best"] == {
        "variant": "dropout",
        "selected_by": "validation_loss",
        "validation_loss": pytest.approx(0.1),
        "test_accuracy": pytest.approx(0.8),
        "seeds": 2,
    }
    assert done.json()["no_best"] is None
    assert client.get(experiment["links"]["report"]).json()["best"] == done.json()["best"]
    assert done.json()["progress"]["finished"] is True
    assert "Retry-After" not in done.headers


def test_a_preset_with_overrides(client: httpx.Client) -> None:
    experiment = create(
        client,
        {"preset": "dropout-vs-none", "base": {"dataset": {"name": "mnist_5k"}}, "seeds": [0, 1, 2]},
    )
    assert experiment["preset"] == "dropout-vs-none"
    assert experiment["progress"]["total"] == 6
    spec = experiment["spec"]
    assert spec["base"]["dataset"]["name"] == "mnist_5k"
    assert spec["base"]["dataset"]["validation_split"] == "last"
    assert spec["base"]["model"]["hidden_units"] == [512, 512]
    assert [variant["name"] for variant in spec["variants"]] == ["without Dropout", "with Dropout"]


def test_replicates_replace_the_seeds_of_a_preset(client: httpx.Client) -> None:
    small = {"base": {"dataset": {"name": "mnist_5k"}}, "replicates": 2}
    experiment = create(client, {"preset": "l1-vs-l2", **small})
    assert experiment["spec"]["seeds"] == [0, 1]
    assert experiment["progress"]["total"] == 8


def test_a_resolved_experiment_can_be_posted_again(client: httpx.Client) -> None:
    experiment = create(client, DOCUMENT)
    assert create(client, experiment["spec"])["spec"] == experiment["spec"]


def test_an_experiment_is_stored_completely_or_not_at_all(client: TestClient) -> None:
    engine = client.app.state.database.engine

    def lose_the_connection(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO events"):
            raise RuntimeError("lost in the middle")

    event.listen(engine, "before_cursor_execute", lose_the_connection)
    try:
        assert client.post("/v1/experiments", json=DOCUMENT).status_code == 500
    finally:
        event.remove(engine, "before_cursor_execute", lose_the_connection)
    assert client.get("/v1/experiments").json()["items"] == []
    assert client.get("/v1/jobs").json()["items"] == []


def test_experiments_are_paged(client: httpx.Client) -> None:
    names = [create(client, DOCUMENT | {"name": f"number {number}"})["name"] for number in range(3)]
    first = client.get("/v1/experiments?limit=2")
    second = client.get(first.links["next"]["url"])
    listed = [item["name"] for page in (first, second) for item in page.json()["items"]]
    assert listed == names[::-1]
    assert second.json()["next_cursor"] is None


def test_a_whole_experiment_is_cancelled(client: httpx.Client, database: Database) -> None:
    experiment = create(client, DOCUMENT)
    jobs = jobs_of(client, experiment)
    with database.write() as session:
        assert queue.claim(session, jobs[0]["id"], owner="test", lease_seconds=30)
    response = client.post(experiment["links"]["cancel"])
    assert response.status_code == 202
    assert response.json()["progress"]["counts"]["cancelled"] == 3
    with database.write() as session:
        queue.fail(session, jobs[0]["id"], 1, code="x", message="x", retryable=False)
    assert client.post(experiment["links"]["cancel"]).status_code == 409


def test_a_job_that_ends_meanwhile_does_not_prevent_cancelling_the_others(
    client: TestClient, database: Database
) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets no other writer in between")
    experiment = create(client, DOCUMENT)
    first = jobs_of(client, experiment)[0]["id"]
    with database.write() as session:
        queue.claim(session, first, owner="test", lease_seconds=30)
    engine = client.app.state.database.engine
    ended: list[str] = []

    def end_the_first(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FOR UPDATE" in statement and not ended:
            ended.append(first)
            with database.write() as session:
                queue.succeed(session, first, 1, result_record())

    event.listen(engine, "before_cursor_execute", end_the_first)
    try:
        answer = client.post(experiment["links"]["cancel"])
    finally:
        event.remove(engine, "before_cursor_execute", end_the_first)
    assert ended == [first]
    assert answer.status_code == 200, answer.text
    counts = answer.json()["progress"]["counts"]
    assert (counts["succeeded"], counts["cancelled"]) == (1, 3)


def finish(client: httpx.Client, database: Database, experiment: dict[str, Any], **result: Any) -> None:
    for job in jobs_of(client, experiment):
        if job["state"] == "queued":
            finish_job(database, job["id"], result=result_record(**result))


class TestReuse:
    """Runs that succeeded before are linked, not trained again."""

    def test_a_succeeded_job_is_linked_and_marked_as_reused(
        self, client: httpx.Client, database: Database
    ) -> None:
        first = create(client, DOCUMENT)
        assert first["progress"]["reused"] == 0
        finish(client, database, first)
        again = create(client, DOCUMENT | {"seeds": [3, 7, 9]})
        assert (again["progress"]["reused"], again["progress"]["total"]) == (4, 6)
        assert again["progress"]["counts"]["queued"] == 2
        assert {job["id"] for job in jobs_of(client, first)} < {job["id"] for job in jobs_of(client, again)}
        report = client.get(again["links"]["report"]).json()
        assert (report["finished"], report["jobs"]) == (4, 6)
        assert [(run["seed"], run["reused"]) for run in report["variants"][1]["seeds"]] == [
            (3, True),
            (7, True),
        ]

    def test_no_job_is_reused_if_reuse_is_off(self, client: httpx.Client, database: Database) -> None:
        finish(client, database, create(client, DOCUMENT))
        again = create(client, DOCUMENT | {"reuse": False})
        assert (again["progress"]["reused"], again["progress"]["counts"]["queued"]) == (0, 4)

    def test_a_queued_job_is_not_reused(self, client: httpx.Client) -> None:
        create(client, DOCUMENT)
        assert create(client, DOCUMENT)["progress"]["counts"]["queued"] == 4

    @pytest.mark.parametrize("changed", ["dataset_sha256", "tensorflow", "keras", "device", "threads"])
    def test_a_result_of_another_dataset_or_release_is_not_reused(
        self, client: httpx.Client, database: Database, changed: str
    ) -> None:
        finish(client, database, create(client, DOCUMENT))
        value = 2 if changed == "threads" else "other"
        finished_job(database, job_spec(seed=99), result=result_record(**{changed: value}))
        assert create(client, DOCUMENT)["progress"]["reused"] == 0

    def test_two_variants_with_the_same_specification(self, client: httpx.Client, database: Database) -> None:
        twins = DOCUMENT | {"variants": [{"name": "a"}, {"name": "b"}], "seeds": [0]}
        first = create(client, twins)
        assert first["progress"]["counts"]["queued"] == 2
        finish(client, database, first)
        again = create(client, twins)
        assert (again["progress"]["reused"], again["progress"]["total"]) == (2, 2)
        assert len({job["id"] for job in jobs_of(client, again)}) == 1
        report = client.get(again["links"]["report"]).json()
        assert [variant["n"] for variant in report["variants"]] == [1, 1]

    def test_cancelling_does_not_change_a_reused_job(self, client: httpx.Client, database: Database) -> None:
        first = create(client, DOCUMENT)
        finish(client, database, first)
        again = create(client, DOCUMENT | {"seeds": [3, 8]})
        counts = client.post(again["links"]["cancel"]).json()["progress"]["counts"]
        assert (counts["succeeded"], counts["cancelled"]) == (2, 2)
        assert client.get(first["links"]["self"]).json()["progress"]["counts"]["succeeded"] == 4


class TestNames:
    """F6: an experiment shows all its runs under its own variants' names, also jobs that it only links."""

    RENAMED: ClassVar = [
        {"name": "ctl"},
        DOCUMENT["variants"][1] | {"name": "d.5"},
        {"name": "ctl again"},
    ]
    RUNS: ClassVar = [(variant, seed) for seed in (3, 7) for variant in ("ctl", "ctl again", "d.5")]

    @pytest.fixture
    def renamed(self, client: httpx.Client, database: Database) -> dict[str, Any]:
        finish(client, database, create(client, DOCUMENT))
        return create(client, DOCUMENT | {"variants": self.RENAMED})

    def test_f6_the_list_of_an_experiment_has_every_run_under_its_own_name(
        self, client: httpx.Client, renamed: dict[str, Any]
    ) -> None:
        jobs = jobs_of(client, renamed)
        assert sorted((job["variant"], job["spec"]["seed"]) for job in jobs) == sorted(self.RUNS)
        assert {job["experiment_id"] for job in jobs} == {renamed["id"]}
        assert {job["name"] for job in jobs} == {f"{variant}, seed {seed}" for variant, seed in self.RUNS}
        assert len({job["id"] for job in jobs}) == 4
        assert all(job["result"]["test_accuracy"] for job in jobs)

    @pytest.mark.parametrize("query", ["", "&sort=created_at", "&sort=-test_accuracy", "&state=succeeded"])
    @pytest.mark.parametrize("limit", [1, 5])
    def test_f6_pages_of_an_experiments_list_contain_each_run_once(
        self, client: httpx.Client, renamed: dict[str, Any], query: str, limit: int
    ) -> None:
        fields = "name,variant,experiment_id"
        link = f"{renamed['links']['jobs']}{query}&limit={limit}&fields={fields}"
        names: list[str] = []
        while link:
            answer = client.get(link)
            names += [item["name"] for item in answer.json()["items"]]
            link = answer.links.get("next", {}).get("url", "")
        assert sorted(names) == sorted(f"{variant}, seed {seed}" for variant, seed in self.RUNS)

    def test_f6_filters_apply_to_an_experiments_runs(
        self, client: httpx.Client, renamed: dict[str, Any]
    ) -> None:
        link = renamed["links"]["jobs"]
        assert client.get(f"{link}&state=queued").json()["items"] == []
        dropout = client.get(f"{link}&technique=dropout").json()["items"]
        assert [job["variant"] for job in dropout] == ["d.5", "d.5"]

    def test_f6_the_first_experiment_keeps_its_names(
        self, client: httpx.Client, renamed: dict[str, Any]
    ) -> None:
        first = client.get("/v1/experiments").json()["items"][1]
        assert {job["variant"] for job in jobs_of(client, first)} == {"none", "dropout"}
        assert {job["variant"] for job in client.get("/v1/jobs").json()["items"]} == {"none", "dropout"}

    def test_f6_the_pages_show_the_experiments_names(
        self, client: httpx.Client, renamed: dict[str, Any]
    ) -> None:
        html = {"Accept": "text/html"}
        page = client.get(f"/jobs?experiment={renamed['id']}", headers=html).text
        assert all(f"{variant}, seed {seed}" in page for variant, seed in self.RUNS)
        assert f'href="/experiments/{renamed["id"]}"' in page
        (job,) = [job for job in jobs_of(client, renamed) if job["name"] == "ctl, seed 3"]
        first = client.get("/v1/experiments").json()["items"][1]
        page = client.get(f"/jobs/{job['id']}", headers=html).text
        assert f"{first['name']}</a> / none / seed 3" in page
        for variant in ("ctl", "ctl again"):
            assert f'{variant} in <a href="/experiments/{renamed["id"]}">' in page


class TestDeletedJobs:
    """F5: a deleted job is trained again, and no experiment loses a job that another one owns."""

    @staticmethod
    def delete_one(client: httpx.Client, database: Database) -> tuple[dict[str, Any], dict[str, Any]]:
        """An experiment that has ended, and its first job, which is deleted."""
        experiment = create(client, DOCUMENT)
        finish(client, database, experiment)
        job = jobs_of(client, experiment)[0]
        assert client.delete(job["links"]["self"]).status_code == 204
        return client.get(experiment["links"]["self"]).json(), job

    @pytest.mark.parametrize(
        ("path", "body"),
        [("extend", {"seeds": [3]}), ("extend", {}), ("retry-failed", None)],
    )
    def test_f5_the_deleted_job_is_trained_again(
        self, client: httpx.Client, database: Database, path: str, body: dict[str, Any] | None
    ) -> None:
        experiment, job = self.delete_one(client, database)
        assert (experiment["progress"]["deleted"], experiment["progress"]["total"]) == (1, 3)
        assert experiment["links"]["retry_failed"]
        answer = client.post(f"{experiment['links']['self']}/{path}", json=body)
        assert answer.status_code == 202, answer.text
        progress = answer.json()["progress"]
        assert (progress["deleted"], progress["counts"]["queued"]) == (0, 1)
        jobs = jobs_of(client, experiment)
        assert sorted((item["variant"], item["spec"]["seed"]) for item in jobs) == [
            ("dropout", 3),
            ("dropout", 7),
            ("none", 3),
            ("none", 7),
        ]
        assert job["id"] not in {item["id"] for item in jobs}
        assert client.post(f"{experiment['links']['self']}/{path}", json=body).status_code == 409

    def test_f5_an_equal_job_of_another_experiment_replaces_the_deleted_one(
        self, client: httpx.Client, database: Database
    ) -> None:
        experiment, _ = self.delete_one(client, database)
        finish(client, database, create(client, DOCUMENT | {"reuse": False}))
        progress = client.post(experiment["links"]["extend"], json={}).json()["progress"]
        assert (progress["reused"], progress["finished"]) == (1, True)

    def test_f5_the_report_says_that_the_job_was_deleted(
        self, client: httpx.Client, database: Database
    ) -> None:
        experiment, _ = self.delete_one(client, database)
        report = client.get(f"{experiment['links']['report']}?format=md").text
        assert "3 of 4 jobs have a result; the others will not have one (1 deleted)." in report
        page = client.get(f"/experiments/{experiment['id']}", headers={"Accept": "text/html"}).text
        assert "ended, 3 of 4 succeeded, 1 deleted" in page

    def test_f5_a_job_that_another_experiment_links_is_not_deleted(
        self, client: httpx.Client, database: Database
    ) -> None:
        first = create(client, DOCUMENT)
        finish(client, database, first)
        again = create(client, DOCUMENT)
        refused = client.delete(jobs_of(client, first)[0]["links"]["self"])
        assert refused.status_code == 409
        assert again["id"] in refused.json()["detail"]
        for experiment in (first, again):
            report = client.get(experiment["links"]["report"]).json()
            assert (report["finished"], report["jobs"]) == (4, 4)

    def test_f5_a_job_of_no_experiment_that_one_links_is_not_deleted(
        self, client: httpx.Client, database: Database
    ) -> None:
        spec = DOCUMENT["base"] | {"dataset": {"name": "mnist_5k", "split_seed": 3}, "seed": 3}
        job = client.post("/v1/jobs", json=spec).json()
        finish_job(database, job["id"])
        experiment = create(client, DOCUMENT)
        assert experiment["progress"]["reused"] == 1
        assert client.delete(job["links"]["self"]).status_code == 409
        client.post(experiment["links"]["cancel"])
        assert client.delete(experiment["links"]["self"]).status_code == 204
        assert client.get(job["links"]["self"]).json()["state"] == "succeeded"
        assert client.delete(job["links"]["self"]).status_code == 204

    def test_f5_the_retry_after_a_deleted_retry_takes_its_place(
        self, client: httpx.Client, database: Database
    ) -> None:
        experiment = create(client, DOCUMENT | {"seeds": [3]})
        client.post(experiment["links"]["cancel"])
        first = jobs_of(client, experiment)[0]
        retry = client.post(f"{first['links']['self']}/retry").json()
        client.post(f"{retry['links']['self']}/cancel")
        assert client.delete(retry["links"]["self"]).status_code == 204
        second = client.post(f"{first['links']['self']}/retry").json()
        assert second["id"] in {job["id"] for job in jobs_of(client, experiment)}


class TestDelete:
    """F5: experiments can be deleted, with their jobs or without."""

    def test_f5_an_experiment_is_deleted_with_its_jobs(
        self, client: httpx.Client, database: Database
    ) -> None:
        experiment = create(client, DOCUMENT)
        jobs = jobs_of(client, experiment)
        refused = client.delete(experiment["links"]["self"])
        assert refused.status_code == 409
        assert "has not ended" in refused.json()["detail"]
        client.post(experiment["links"]["cancel"])
        client.post(f"{experiment['links']['self']}/retry-failed")
        client.post(experiment["links"]["cancel"])
        assert client.delete(experiment["links"]["self"]).status_code == 204
        assert client.get(experiment["links"]["self"]).status_code == 404
        assert client.get("/v1/experiments").json()["items"] == []
        # The cancelled jobs and their retries, too.
        assert client.get("/v1/jobs").json()["items"] == []
        assert client.get(jobs[0]["links"]["self"]).status_code == 404
        assert client.delete(experiment["links"]["self"]).status_code == 404

    def test_f5_an_experiments_jobs_can_be_preserved(self, client: httpx.Client, database: Database) -> None:
        experiment = create(client, DOCUMENT)
        finish(client, database, experiment)
        job = jobs_of(client, experiment)[0]
        assert client.delete(f"{experiment['links']['self']}?keep_jobs=true").status_code == 204
        preserved = client.get("/v1/jobs").json()["items"]
        assert (len(preserved), {item["experiment_id"] for item in preserved}) == (4, {None})
        changed = client.get(job["links"]["self"])
        assert changed.json()["name"] == job["name"]
        assert client.delete(job["links"]["self"]).status_code == 204

    @pytest.mark.parametrize("keep_jobs", [False, True])
    def test_f5_jobs_that_another_experiment_links_become_its_own(
        self, client: httpx.Client, database: Database, *, keep_jobs: bool
    ) -> None:
        first = create(client, DOCUMENT)
        finish(client, database, first)
        variants = [DOCUMENT["variants"][0] | {"name": "control"}]
        again = create(client, DOCUMENT | {"variants": variants, "seeds": [3]})
        assert client.delete(f"{first['links']['self']}?keep_jobs={keep_jobs}").status_code == 204
        (job,) = jobs_of(client, again)
        job = client.get(job["links"]["self"]).json()
        assert (job["experiment_id"], job["variant"], job["name"]) == (
            again["id"],
            "control",
            "control, seed 3",
        )
        assert len(client.get("/v1/jobs").json()["items"]) == (4 if keep_jobs else 1)
        assert client.delete(again["links"]["self"]).status_code == 204
        assert client.get(job["links"]["self"]).status_code == 404


class TestFairness:
    """A variant differs from the baseline in its regularization alone, or says that it means more."""

    UNFAIR: ClassVar = DOCUMENT | {
        "variants": [{"name": "none"}, {"name": "longer", "changes": {"training": {"epochs": 9}}}]
    }

    def test_any_other_change_is_refused(self, client: httpx.Client) -> None:
        answer = client.post("/v1/experiments", json=self.UNFAIR)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["pointer"] == "/variants/1/changes/training/epochs"
        assert "allow_confounders" in error["detail"]
        assert client.get("/v1/jobs").json()["items"] == []

    def test_an_optimizer_that_a_technique_requires_is_named(self, client: httpx.Client) -> None:
        changes = {
            "regularization": {"weight_decay": {}},
            "training": {"optimizer": {"name": "adamw"}},
        }
        variants = [{"name": "none"}, {"name": "decay", "changes": changes}]
        answer = client.post("/v1/experiments", json=DOCUMENT | {"variants": variants})
        assert [error["pointer"] for error in answer.json()["errors"]] == [
            "/variants/1/changes/training/optimizer/name"
        ]

    def test_allowed_confounders_are_listed_in_the_report(self, client: httpx.Client) -> None:
        experiment = create(client, self.UNFAIR | {"allow_confounders": True})
        report = client.get(experiment["links"]["report"]).json()
        assert [variant["confounders"] for variant in report["variants"]] == [
            [],
            [{"field": "/training/epochs", "baseline": 2, "variant": 9}],
        ]


class TestActions:
    """Pause, resume, retry: of every job at once."""

    def test_pause_and_resume(self, client: httpx.Client, database: Database) -> None:
        experiment = create(client, DOCUMENT)
        first = jobs_of(client, experiment)[0]["id"]
        with database.write() as session:
            assert queue.claim(session, first, owner="test", lease_seconds=30)
        response = client.post(experiment["links"]["pause"])
        assert response.status_code == 202
        assert response.json()["progress"]["counts"]["paused"] == 3
        with database.write() as session:
            queue.stop(session, first, 1)
        assert client.post(experiment["links"]["pause"]).status_code == 200
        resumed = client.post(experiment["links"]["resume"])
        assert resumed.status_code == 200
        assert resumed.json()["progress"]["counts"]["queued"] == 4

    def test_a_finished_experiment_cannot_be_paused_or_resumed(
        self, client: httpx.Client, database: Database
    ) -> None:
        experiment = create(client, DOCUMENT)
        finish(client, database, experiment)
        links = client.get(experiment["links"]["self"]).json()["links"]
        assert [links[name] for name in ("cancel", "pause", "resume", "retry_failed")] == [None] * 4
        for action in ("cancel", "pause", "resume", "retry-failed"):
            assert client.post(f"{links['self']}/{action}").status_code == 409

    def test_all_jobs_that_did_not_succeed_are_retried(
        self, client: httpx.Client, database: Database
    ) -> None:
        experiment = create(client, DOCUMENT)
        jobs = jobs_of(client, experiment)
        finish_job(database, jobs[0]["id"])
        cancelled = client.post(experiment["links"]["cancel"]).json()
        retried = client.post(cancelled["links"]["retry_failed"])
        assert retried.status_code == 202
        counts = retried.json()["progress"]["counts"]
        assert (counts["succeeded"], counts["queued"], counts["cancelled"]) == (1, 3, 0)
        assert {job["retry_of"] for job in jobs_of(client, experiment)} == {
            None,
            *(job["id"] for job in jobs[1:]),
        }
        assert client.post(f"{experiment['links']['self']}/retry-failed").status_code == 409


class TestExtend:
    """More seeds and variants, of which only the new are trained."""

    L2: ClassVar = {"name": "L2", "changes": {"regularization": {"l2": {"factor": 0.001}}}}

    def test_seeds_and_variants_are_added_while_it_runs(self, client: httpx.Client) -> None:
        experiment = create(client, DOCUMENT)
        before = {job["id"] for job in jobs_of(client, experiment)}
        answer = client.post(experiment["links"]["extend"], json={"seeds": [7, 9], "variants": [self.L2]})
        assert answer.status_code == 202, answer.text
        extended = answer.json()
        assert extended["spec"]["seeds"] == [3, 7, 9]
        assert [variant["name"] for variant in extended["spec"]["variants"]] == ["none", "dropout", "L2"]
        jobs = jobs_of(client, extended)
        assert {(job["variant"], job["spec"]["seed"]) for job in jobs if job["id"] not in before} == {
            ("none", 9),
            ("dropout", 9),
            *(("L2", seed) for seed in (3, 7, 9)),
        }
        assert before < {job["id"] for job in jobs}
        assert client.get(experiment["links"]["report"]).json()["jobs"] == 9

    def test_replicates_set_the_number_of_seeds(self, client: httpx.Client) -> None:
        experiment = create(client, DOCUMENT | {"seeds": [0, 1]})
        extended = client.post(experiment["links"]["extend"], json={"replicates": 4}).json()
        assert extended["spec"]["seeds"] == [0, 1, 2, 3]
        assert extended["progress"]["total"] == 8

    def test_a_succeeded_job_of_another_experiment_is_linked(
        self, client: httpx.Client, database: Database
    ) -> None:
        finish(client, database, create(client, DOCUMENT))
        experiment = create(client, DOCUMENT | {"seeds": [1]})
        extended = client.post(experiment["links"]["extend"], json={"seeds": [3]}).json()
        assert (extended["progress"]["reused"], extended["progress"]["counts"]["queued"]) == (2, 2)

    @pytest.mark.parametrize("nothing", [{}, {"seeds": [3]}, {"seeds": [7, 3]}])
    def test_an_extension_without_new_jobs_is_a_conflict(
        self, client: httpx.Client, nothing: dict[str, Any]
    ) -> None:
        experiment = create(client, DOCUMENT)
        assert client.post(experiment["links"]["extend"], json=nothing).status_code == 409

    @pytest.mark.parametrize(
        ("extension", "pointer"),
        [
            ({"variants": [{"name": "none"}]}, "/variants"),
            (
                {"variants": [{"name": "x", "changes": {"training": {"epochs": 5}}}]},
                "/variants/0/changes/training/epochs",
            ),
            ({"seeds": [1], "replicates": 2}, "/replicates"),
            ({"seeds": [-1]}, "/seeds/0"),
            ({"seeds": list(range(10, 1100))}, "/seeds"),
            ({"stopping_rule": 3}, "/stopping_rule"),
        ],
    )
    def test_a_bad_extension_is_refused_at_its_field(
        self, client: httpx.Client, extension: dict[str, Any], pointer: str
    ) -> None:
        experiment = create(client, DOCUMENT)
        answer = client.post(experiment["links"]["extend"], json=extension)
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert client.get(experiment["links"]["self"]).json() == experiment

    def test_two_concurrent_extensions_create_no_duplicates(self, client: httpx.Client) -> None:
        experiment = create(client, DOCUMENT)

        def extend(_: int) -> int:
            return client.post(experiment["links"]["extend"], json={"seeds": [8]}).status_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(extend, range(2))) == [202, 409]
        assert client.get(experiment["links"]["self"]).json()["progress"]["total"] == 6


class TestDryRun:
    """A cost, and what so many seeds can show."""

    def cost(self, client: httpx.Client, **changes: Any) -> dict[str, Any]:
        answer = client.post("/v1/experiments?dry_run=true", json=DOCUMENT | changes)
        assert answer.status_code == 200, answer.text
        estimate: dict[str, Any] = answer.json()
        return estimate

    def test_an_estimate_before_any_training(self, client: httpx.Client) -> None:
        cost = self.cost(client)
        assert (cost["jobs"], cost["reused"], cost["to_train"]) == (4, 0, 4)
        assert cost["parameters"] == {"none": 784 * 16 + 16 + 170, "dropout": 784 * 16 + 16 + 170}
        assert (cost["estimated_seconds"], cost["max_jobs"], cost["max_seconds"]) == (None, 4, None)
        assert cost["detectable"] is None, "two pairs call nothing"
        six = self.cost(client, seeds=[*range(6)])["detectable"]
        assert (six["pairs"], six["accuracy_points"], six["accuracy_points_high"]) == (6, None, None)
        assert client.get("/v1/experiments").json()["items"] == []
        single = {"seeds": [*range(6)], "variants": DOCUMENT["variants"][:1]}
        assert self.cost(client, **single)["detectable"] is None

    def test_an_estimate_uses_the_results_of_this_installation(
        self, client: httpx.Client, database: Database
    ) -> None:
        jobs = jobs_of(client, create(client, DOCUMENT))
        for accuracy, job in zip((0.90, 0.92, 0.92, 0.94), jobs, strict=True):
            result = result_record(
                test_accuracy=accuracy, training_seconds=2.0, training_flops=1e10, parameters=12_730
            )
            finish_job(database, job["id"], result=result)
        cost = self.cost(client, seeds=[3, 7, *range(20, 28)])
        assert (cost["reused"], cost["to_train"]) == (4, 16)
        training, compiling = cost["training_flops"] * 2e-10, 2 * 1.0
        assert cost["estimated_seconds"] == pytest.approx(training + compiling)
        rule = {"kind": "decide", "max_jobs": 60}
        most = self.cost(client, seeds=[3, 7, *range(20, 28)], stopping_rule=rule)
        assert most["max_jobs"] == 60
        # 40 jobs more, each at most as long as the 16 that are to be trained now.
        assert most["max_seconds"] == pytest.approx(training * (1 + 40 / 16) + compiling, rel=0.01)
        detectable = cost["detectable"]
        # A variant's variance over its two seeds is 0.0002; a report has two tests at 0.045 together.
        expected = compute_detectable_difference(2.0, 10, level=0.045 / 2)
        assert detectable["effect_size"] == pytest.approx(expected / 2)
        assert detectable["accuracy_points"] == pytest.approx(expected)
        assert detectable["accuracy_points_low"] < expected < detectable["accuracy_points_high"]
        longer = merge_patch(DOCUMENT["base"], {"training": {"epochs": 7}})
        assert self.cost(client, seeds=[*range(10)], base=longer)["detectable"]["accuracy_points"] is None
        sequential = self.cost(client, seeds=[*range(10)], inference="sequential")["detectable"]
        assert sequential["effect_size"] > detectable["effect_size"]
