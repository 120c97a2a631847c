"""Follow-ups of experiments on fresh seeds, on each database."""

from typing import Any

import httpx
import pytest

from models.store.auto_extend import auto_extend_experiments
from models.store.database import Database
from models.store.tables import Experiment
from tests.factories import finish_job, result_record
from tests.integration.api.experiments.test_routes import DOCUMENT, create, jobs_of

L2 = {"name": "L2", "changes": {"regularization": {"l2": {"factor": 0.01}}}}
THREE = DOCUMENT | {"variants": [*DOCUMENT["variants"], L2]}


def get_errors(
    client: httpx.Client, document: dict[str, Any], path: str = "/v1/experiments"
) -> dict[str, str]:
    answer = client.post(path, json=document)
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


def test_what_a_follow_up_leaves_out_is_as_in_the_pilot(client: httpx.Client) -> None:
    pilot = create(client, THREE | {"baseline": "none", "margin_points": 0.5, "primary": ["test_loss"]})
    follow_up = create(client, {"confirms": pilot["id"], "variants": [{"name": "dropout"}]})
    assert follow_up["confirms"] == pilot["id"]
    assert follow_up["name"] == "small, follow-up"
    spec, original = follow_up["spec"], pilot["spec"]
    assert [variant["name"] for variant in spec["variants"]] == ["none", "dropout"]
    assert spec["variants"] == original["variants"][:2]
    assert spec["seeds"] == [8, 9, 10, 11, 12, 13]
    same = ("base", "baseline", "split_per_seed", "margin_points", "primary", "inference")
    assert {field: spec[field] for field in same} == {field: original[field] for field in same}
    assert client.get(pilot["links"]["self"]).json()["follow_ups"] == [follow_up["id"]]
    assert (pilot["confirms"], follow_up["follow_ups"]) == (None, [])
    # Once more, as it stands.
    assert create(client, spec)["spec"] == spec


def test_a_whole_document_may_be_a_follow_up(client: httpx.Client) -> None:
    pilot = create(client, DOCUMENT)
    follow_up = create(client, DOCUMENT | {"confirms": pilot["id"], "seeds": [20, 21], "name": "again"})
    assert (follow_up["name"], follow_up["spec"]["seeds"]) == ("again", [20, 21])


@pytest.mark.parametrize(
    ("changes", "pointer", "detail"),
    [
        ({"seeds": [7, 8]}, "/seeds", "has run with 7; list seeds that it has not, such as 8 to 13"),
        ({"replicates": 8}, "/replicates", "has run with 3, 7; list seeds that it has not, such as 8 to 13"),
        ({"baseline": "dropout"}, "/baseline", "compares with none; leave this out to keep that"),
        ({"base": {"training": {"epochs": 3}}}, "/base", "is not as in"),
        ({"split_per_seed": False}, "/split_per_seed", "is not as in"),
        ({"variants": [{"name": "dropout"}, L2]}, "/variants/2/name", "choose among none, dropout"),
        ({"variants": [L2 | {"name": "dropout"}]}, "/variants/1/changes", "is not as in"),
        ({"variants": []}, "/variants", "give at least one variant"),
        ({"confirms": "exp_unknown"}, "/confirms", "there is no experiment exp_unknown"),
        ({"confirms": 3}, "/confirms", "string"),
    ],
)
def test_what_does_not_confirm_the_pilot_is_refused(
    client: httpx.Client, changes: dict[str, Any], pointer: str, detail: str
) -> None:
    pilot = create(client, DOCUMENT)
    errors = get_errors(client, {"confirms": pilot["id"]} | changes)
    assert pointer in errors
    assert detail in errors[pointer]


def test_a_follow_up_cannot_be_extended_by_what_the_pilot_has_used(
    client: httpx.Client, database: Database
) -> None:
    pilot = create(client, DOCUMENT)
    follow_up = create(client, {"confirms": pilot["id"], "seeds": [0, 1]})
    here = follow_up["links"]["extend"]
    assert "has run with 3" in get_errors(client, {"seeds": [2, 3]}, here)["/seeds"]
    assert "has no such variant" in get_errors(client, {"variants": [L2]}, here)["/variants/0/name"]
    assert client.post(here, json={"seeds": [2]}).json()["spec"]["seeds"] == [0, 1, 2]


def test_a_stopping_rule_adds_no_seed_of_the_pilot(client: httpx.Client, database: Database) -> None:
    rule = {"variant": "dropout", "half_width": 0.001, "max_jobs": 20}
    pilot = create(client, DOCUMENT)
    follow_up = create(client, {"confirms": pilot["id"], "seeds": [0, 1], "stopping_rule": rule})
    for job in jobs_of(client, follow_up):
        finish_job(database, job["id"])
    with database.write() as session:
        auto_extend_experiments(session)
        assert session.get_one(Experiment, follow_up["id"]).document["seeds"] == [
            *(0, 1, 2, 4, 5, 6, 8, 9, 10, 11)
        ]


def test_only_the_follow_ups_runs_are_in_its_report(client: httpx.Client, database: Database) -> None:
    pilot = create(client, THREE)
    for job in jobs_of(client, pilot):
        finish_job(database, job["id"])
    follow_up = create(client, {"confirms": pilot["id"], "variants": [{"name": "L2"}]})
    assert follow_up["progress"]["reused"] == 0
    for index, job in enumerate(jobs_of(client, follow_up)):
        gain = 0.05 + 0.001 * index if job["variant"] == "L2" else 0.0
        finish_job(database, job["id"], result=result_record(test_accuracy=0.9 + gain))
    report = client.get(follow_up["links"]["report"]).json()
    assert report["confirms"] == pilot["id"]
    assert report["inference"] == "fixed"
    assert report["seeds"] == follow_up["spec"]["seeds"]
    (contrast,) = report["contrasts"]
    assert contrast["differences"]["test_accuracy_points"]["call"] == "higher"
    # Of six pairs that agree: two of 64 assignments of signs, in one family of two tests.
    assert contrast["differences"]["test_accuracy_points"]["adjusted_p"] == pytest.approx(2 / 64)
    assert f"This follows up {pilot['id']} on seeds that it did not use" in report["methods"]
    markdown = client.get(follow_up["links"]["report"], params={"format": "md"}).text
    assert f"follows up {pilot['id']}" in markdown
    of_pilot = client.get(pilot["links"]["report"], params={"format": "md"}).text
    assert f"Followed up on fresh seeds by {follow_up['id']}" in of_pilot


def test_the_pages_of_both_link_to_each_other(client: httpx.Client) -> None:
    pilot = create(client, DOCUMENT)
    follow_up = create(client, {"confirms": pilot["id"]})
    pages = [client.get(f"/experiments/{item['id']}").text for item in (pilot, follow_up)]
    assert f'Followed up on fresh seeds by <a href="/experiments/{follow_up["id"]}">' in pages[0]
    assert f'Follows up <a href="/experiments/{pilot["id"]}">small</a>' in pages[1]
    assert 'value="8-13"' in pages[0]


def test_a_follow_up_outlives_its_pilot(client: httpx.Client, database: Database) -> None:
    pilot = create(client, DOCUMENT)
    follow_up = create(client, {"confirms": pilot["id"]})
    for job in jobs_of(client, pilot):
        finish_job(database, job["id"])
    assert client.delete(pilot["links"]["self"]).status_code == 204
    current = client.get(follow_up["links"]["self"]).json()
    assert (current["confirms"], current["spec"]["confirms"]) == (None, pilot["id"])
    assert "Follows up" not in client.get(f"/experiments/{follow_up['id']}").text
    assert client.post(follow_up["links"]["extend"], json={"seeds": [90]}).status_code == 202
