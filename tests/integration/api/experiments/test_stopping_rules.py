"""Experiments whose variants have different numbers of seeds, because some were decided earlier."""

from typing import Any

import httpx
import pytest

from models.store.auto_extend import auto_extend_experiments
from models.store.database import Database
from tests.factories import finish_job, result_record
from tests.integration.api.experiments.test_routes import DOCUMENT, create, jobs_of

VARIANTS = [
    {"name": name, "changes": {"regularization": {"dropout": {"rate": rate}}}}
    for name, rate in (("none", 0.0), ("better", 0.1), ("noisy", 0.2))
]
RULE = {"kind": "decide", "max_jobs": 22}


def finish_all(client: httpx.Client, database: Database, experiment: dict[str, Any]) -> None:
    """`better` surely gains; `noisy` does not, and only seeds after the sixth have low validation losses."""
    for job in jobs_of(client, experiment):
        if job["state"] == "succeeded":
            continue
        sign = (-1) ** job["spec"]["seed"]
        gain = {"better": 0.05 + 0.0001 * sign, "noisy": 0.01 * sign}.get(job["variant"], 0.0)
        validation = {"better": 0.3, "noisy": 0.4}.get(job["variant"], 0.5)
        result = result_record(
            test_accuracy=0.9 + gain,
            test_loss=0.5 - gain,
            validation_loss=validation if job["spec"]["seed"] < 6 else 0.01,
        )
        finish_job(database, job["id"], result=result, epochs=1)


def test_a_decided_variant_stays_behind(client: httpx.Client, database: Database) -> None:
    document = DOCUMENT | {"variants": VARIANTS, "seeds": [*range(6)], "stopping_rule": RULE}
    experiment = create(client, document)
    assert experiment["spec"]["stopping_rule"] == RULE | {"closed": {}}
    here = experiment["links"]["self"]
    for _ in range(3):
        finish_all(client, database, experiment)
        assert not client.get(here).json()["progress"]["finished"]
        with database.write() as session:
            auto_extend_experiments(session)
    ended = client.get(here).json()
    assert not ended["auto_extending"]
    assert ended["spec"]["stopping_rule"]["closed"] == {"better": 6}
    progress = ended["progress"]
    assert (progress["total"], progress["deleted"], progress["finished"]) == (22, 0, True)
    assert ended["links"]["retry_failed"] is None
    assert (ended["best"]["variant"], ended["best"]["seeds"]) == ("better", 6)
    report = client.get(f"{here}/report").json()
    assert (report["inference"], report["complete"], report["jobs"]) == ("sequential", True, 22)
    assert report["best"] == ended["best"] | {"test_accuracy": pytest.approx(0.95)}
    pairs = {contrast["variant"]: contrast["seeds"] for contrast in report["contrasts"]}
    assert pairs == {"better": [*range(6)], "noisy": [*range(8)]}
    calls = [
        difference["call"]
        for contrast in report["contrasts"]
        for difference in contrast["differences"].values()
        if difference["tested"]
    ]
    assert sorted(map(str, calls)) == ["None", "None", "higher", "lower"]
    assert any("none is added beyond 22 jobs in all" in note for note in report["notes"])
    # A repetition is the same runs.
    assert create(client, ended["spec"])["progress"]["total"] == 22


def test_a_cancelled_experiment_adds_no_more(client: httpx.Client, database: Database) -> None:
    document = DOCUMENT | {"variants": VARIANTS, "seeds": [*range(6)], "stopping_rule": RULE}
    experiment = create(client, document)
    client.post(f"{experiment['links']['self']}/cancel")
    with database.write() as session:
        assert auto_extend_experiments(session) == []
    assert client.get(experiment["links"]["self"]).json()["progress"]["finished"]
