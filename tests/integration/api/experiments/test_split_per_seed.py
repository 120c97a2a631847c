"""Experiments whose seeds draw the split, too, on each database."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from models.store.auto_extend import auto_extend_experiments
from models.store.database import Database
from models.store.tables import Experiment
from tests.factories import finish_job, job_spec
from tests.integration.api.experiments.test_routes import DOCUMENT, create, finish, jobs_of

LAST = DOCUMENT["base"] | {"dataset": {"name": "mnist_5k", "validation_split": "last"}}


def get_split_seeds(client: httpx.Client, experiment: dict[str, Any]) -> set[tuple[str, int, int]]:
    """(variant, seed, split_seed) of every run."""
    return {
        (job["variant"], job["spec"]["seed"], job["spec"]["dataset"]["split_seed"])
        for job in jobs_of(client, experiment)
    }


def create_old(client: httpx.Client, database: Database, **fields: Any) -> dict[str, Any]:
    """An experiment as it was stored before there was `split_per_seed`."""
    experiment = create(client, DOCUMENT | fields | {"split_per_seed": False})
    with database.write() as session:
        row = session.get_one(Experiment, experiment["id"])
        row.document = {key: value for key, value in row.document.items() if key != "split_per_seed"}
    return experiment


def test_the_split_follows_the_seed_by_default_and_is_equal_within_a_pair(client: httpx.Client) -> None:
    base = DOCUMENT["base"] | {"dataset": {"name": "mnist_5k", "split_seed": 2**31 - 4}}
    experiment = create(client, DOCUMENT | {"base": base})
    assert experiment["spec"]["split_per_seed"] is True
    assert get_split_seeds(client, experiment) == {
        ("none", 3, 2**31 - 1),
        ("dropout", 3, 2**31 - 1),
        ("none", 7, 3),
        ("dropout", 7, 3),
    }
    assert experiment["spec"]["base"]["dataset"]["split_seed"] == 2**31 - 4


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ({}, True),
        ({"validation_split": "last"}, False),
        ({"validation_split": "last", "train_samples": 500}, True),
        ({"validation_split": "last", "train_samples": 4000}, False),  # all there are
        ({"validation_split": "last", "label_noise": 0.1}, True),
        ({"validation_fraction": 0}, False),
    ],
)
def test_null_is_resolved_by_whether_anything_is_drawn(
    client: httpx.Client, dataset: dict[str, Any], expected: bool
) -> None:
    base = DOCUMENT["base"] | {"dataset": {"name": "mnist_5k"} | dataset}
    for null in ({}, {"split_per_seed": None}):
        assert create(client, DOCUMENT | {"base": base} | null)["spec"]["split_per_seed"] is expected


def test_the_seed_documents_preset_keeps_one_split(client: httpx.Client) -> None:
    overrides = {"base": {"dataset": {"name": "mnist_5k", "label_noise": 0.1}}, "seeds": [0, 5]}
    experiment = create(client, {"preset": "dropout-vs-none", **overrides})
    assert experiment["spec"]["split_per_seed"] is False
    assert {split_seed for _, _, split_seed in get_split_seeds(client, experiment)} == {0}


def test_a_variant_cannot_change_a_split_seed_that_follows_the_seed(client: httpx.Client) -> None:
    changes = {"dataset": {"split_seed": 5}}
    document = DOCUMENT | {
        "variants": [{"name": "none"}, {"name": "other", "changes": changes}],
        "allow_confounders": True,
    }
    refused = client.post("/v1/experiments", json=document)
    assert refused.status_code == 422
    [error] = refused.json()["errors"]
    assert error["pointer"] == "/variants/1/changes/dataset/split_seed"
    assert "set split_per_seed to false" in error["detail"]
    experiment = create(client, DOCUMENT)
    extended = client.post(
        experiment["links"]["extend"], json={"variants": [{"name": "other", "changes": changes}]}
    )
    assert [error["pointer"] for error in extended.json()["errors"]] == [
        "/variants/0/changes/dataset/split_seed"
    ]
    assert get_split_seeds(client, create(client, document | {"split_per_seed": False})) == {
        ("none", 3, 0),
        ("other", 3, 5),
        ("none", 7, 0),
        ("other", 7, 5),
    }


def test_added_seeds_draw_their_own_split(client: httpx.Client) -> None:
    experiment = create(client, DOCUMENT)
    extended = client.post(experiment["links"]["extend"], json={"seeds": [9]}).json()
    assert {(seed, split_seed) for _, seed, split_seed in get_split_seeds(client, extended)} == {
        (3, 3),
        (7, 7),
        (9, 9),
    }


def test_an_older_experiment_keeps_its_one_split(client: httpx.Client, database: Database) -> None:
    experiment = create_old(client, database)
    stored = client.get(experiment["links"]["self"]).json()
    assert stored["spec"]["split_per_seed"] is False
    variants = [{"name": "L2", "changes": {"regularization": {"l2": {}}}}]
    extended = client.post(experiment["links"]["extend"], json={"seeds": [9], "variants": variants})
    assert extended.json()["spec"]["split_per_seed"] is False
    assert len(jobs_of(client, experiment)) == 9
    # A deleted run is trained again as it was.
    job = jobs_of(client, experiment)[0]
    client.post(experiment["links"]["cancel"])
    client.delete(job["links"]["self"])
    assert client.post(f"{experiment['links']['self']}/retry-failed").status_code == 202
    assert {split_seed for _, _, split_seed in get_split_seeds(client, experiment)} == {0}
    assert create(client, stored["spec"])["spec"] == stored["spec"]


@pytest.mark.parametrize("old", [True, False])
def test_automatically_added_seeds_have_the_splits_of_the_plan(
    client: httpx.Client, database: Database, old: bool
) -> None:
    rule = {"variant": "dropout", "half_width": 0.001, "max_jobs": 20}
    document = DOCUMENT | {"stopping_rule": rule}
    experiment = create_old(client, database, **document) if old else create(client, document)
    finish(client, database, experiment)
    with database.write() as session:
        added = auto_extend_experiments(session)
        assert added
        assert {job.spec["dataset"]["split_seed"] - job.seed * (not old) for job in added} == {0}


def test_a_job_keeps_what_it_says(client: httpx.Client) -> None:
    job = client.post("/v1/jobs", json=job_spec(seed=4).model_dump(mode="json")).json()
    assert job["spec"]["dataset"]["split_seed"] == 0


def test_a_run_is_reused_where_its_split_is_the_same(client: httpx.Client, database: Database) -> None:
    one_split = DOCUMENT | {"seeds": [0, 1], "split_per_seed": False}
    finish(client, database, create(client, one_split))
    assert create(client, DOCUMENT | {"seeds": [0, 1]})["progress"]["reused"] == 2


class TestReport:
    """What a report says of the split."""

    @pytest.fixture
    def get_methods(self, client: httpx.Client, database: Database) -> Callable[..., str]:
        def finish_and_report(**fields: Any) -> str:
            experiment = create(client, DOCUMENT | {"seeds": [*range(6)]} | fields)
            for job in jobs_of(client, experiment):
                if job["state"] == "queued":  # else it is reused
                    finish_job(database, job["id"])
            report = client.get(experiment["links"]["report"]).json()
            # Jobs chosen by hand are reported in the same words.
            ids = [job["id"] for job in jobs_of(client, experiment)]
            chosen = client.get("/v1/reports", params={"job": ids}).json()
            said = report["methods"].partition("generalize over")[2].partition(".")[0]
            assert said in chosen["methods"], (report["methods"], chosen["methods"])
            return str(report["methods"])

        return finish_and_report

    def test_it_names_over_what_its_intervals_generalize(self, get_methods: Callable[..., str]) -> None:
        varied = "generalize over initial weights, order of the examples"
        assert f"{varied} and split; all seeds share the test images." in get_methods()
        dataset = {"name": "mnist_5k", "label_noise": 0.2, "train_samples": 500}
        base = DOCUMENT["base"] | {"dataset": dataset}
        text = get_methods(base=base)
        assert f"{varied}, split, subset and label noise; all seeds share the test images." in text
        text = get_methods(base=base, split_per_seed=False)
        assert (
            "generalize over initial weights and order of the examples; all seeds share the split, subset, "
            "label noise and test images." in text
        )

    def test_it_says_where_the_setting_changes_nothing(self, get_methods: Callable[..., str]) -> None:
        text = get_methods(base=LAST, split_per_seed=True)
        assert "generalize over initial weights and order of the examples; all seeds share the test" in text
        assert "`split_per_seed` changes nothing here" in text
        assert "changes nothing" not in get_methods(base=LAST)

    def test_a_split_seed_that_follows_the_seed_is_no_confounder(self, client: httpx.Client) -> None:
        experiment = create(client, DOCUMENT)
        first = jobs_of(client, experiment)[0]
        client.post(experiment["links"]["cancel"])
        client.delete(first["links"]["self"])
        report = client.get(experiment["links"]["report"]).json()
        assert [variant["confounders"] for variant in report["variants"]] == [[], []]
        # No seed is left that both variants have.
        last = jobs_of(client, experiment)[-1]
        client.delete(last["links"]["self"])
        report = client.get(experiment["links"]["report"]).json()
        assert [variant["confounders"] for variant in report["variants"]] == [[], []]


class TestChosenJobs:
    """Jobs of such an experiment, chosen by hand."""

    def compare(self, client: httpx.Client, *experiments: dict[str, Any]) -> dict[str, Any]:
        ids = {job["id"]: None for experiment in experiments for job in jobs_of(client, experiment)}
        report: dict[str, Any] = client.get("/v1/reports", params={"job": list(ids)}).json()
        return report

    def get_seeds(self, report: dict[str, Any]) -> list[tuple[str, list[int]]]:
        return [(variant["name"], variant["unfinished_seeds"]) for variant in report["variants"]]

    def test_they_are_grouped_as_in_the_experiment(self, client: httpx.Client) -> None:
        report = self.compare(client, create(client, DOCUMENT))
        assert self.get_seeds(report) == [("none", [3, 7]), ("dropout", [3, 7])]
        assert [variant["confounders"] for variant in report["variants"]] == [[], []]
        assert '"split_per_seed":true' in report["repeat"]

    def test_jobs_of_one_split_are_grouped_by_it(self, client: httpx.Client) -> None:
        report = self.compare(client, create(client, DOCUMENT | {"split_per_seed": False}))
        assert self.get_seeds(report) == [("none", [3, 7]), ("dropout", [3, 7])]
        assert '"split_per_seed":false' in report["repeat"]

    def test_posted_jobs_with_different_splits_are_different_variants(self, client: httpx.Client) -> None:
        jobs = [
            client.post(
                "/v1/jobs", json=job_spec(seed=seed, dataset={"split_seed": seed}).model_dump(mode="json")
            ).json()
            for seed in (0, 1)
        ]
        report = client.get("/v1/reports", params={"job": [job["id"] for job in jobs]}).json()
        assert self.get_seeds(report) == [("none, split seed 0", [0]), ("none, split seed 1", [1])]

    def test_a_job_of_both_kinds_of_experiment_belongs_to_the_compared_one(
        self, client: httpx.Client, database: Database
    ) -> None:
        one_split = create(client, DOCUMENT | {"seeds": [0, 1, 2], "split_per_seed": False})
        for job in jobs_of(client, one_split):
            finish_job(database, job["id"])
        own_splits = create(client, DOCUMENT | {"seeds": [0, 1, 2]})
        assert own_splits["progress"]["reused"] == 2
        assert [variant["n"] for variant in self.compare(client, one_split)["variants"]] == [3, 3]
        report = self.compare(client, own_splits)
        assert self.get_seeds(report) == [("none", [1, 2]), ("dropout", [1, 2])]
        assert [variant["n"] for variant in report["variants"]] == [1, 1]
