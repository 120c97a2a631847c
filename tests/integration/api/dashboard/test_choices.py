"""Pages choose by validation loss, never by what is measured on the test images; on each database."""

import re
from typing import Any

import httpx

from models.store.database import Database
from tests.factories import finish_job, result_record
from tests.integration.api.experiments.test_routes import DOCUMENT, create, jobs_of

L2 = [
    {"name": f"L2 {factor}", "changes": {"regularization": {"l2": {"factor": factor}}}}
    for factor in (1e-4, 1e-3)
]
SWEEP = DOCUMENT | {"variants": [{"name": "none"}, *L2]}
# The test images prefer the first, the validation images the second.
TEST_LOSSES = {"none": 0.3, "L2 0.0001": 0.1, "L2 0.001": 0.2}
VALIDATION_LOSSES = {"none": 0.3, "L2 0.0001": 0.2, "L2 0.001": 0.1}


def finish_sweep(client: httpx.Client, database: Database, **result: Any) -> dict[str, Any]:
    sweep = create(client, SWEEP)
    for job in jobs_of(client, sweep):
        variant = job["variant"]
        losses = {"test_loss": TEST_LOSSES[variant], "validation_loss": VALIDATION_LOSSES[variant]}
        finish_job(database, job["id"], result=result_record(**(losses | result)))
    return sweep


def test_a_techniques_page_draws_what_validation_chooses(client: httpx.Client, database: Database) -> None:
    finish_sweep(client, database)
    page = client.get("/learn/l2").text
    assert 'data-variant="L2 0.001"' in page
    assert "the one with the lowest validation loss is drawn" in page


def test_a_techniques_page_says_why_nothing_is_chosen(client: httpx.Client, database: Database) -> None:
    finish_sweep(client, database, validation_loss=None)
    page = client.get("/learn/l2").text
    assert 'data-variant="L2 0.0001"' in page
    assert "the first is drawn: No images were held out for validation" in page


def test_the_playground_offers_what_validation_chooses(client: httpx.Client, database: Database) -> None:
    sweep = finish_sweep(client, database)
    page = client.get("/try").text
    chosen = {job["id"] for job in jobs_of(client, sweep) if job["variant"] == "L2 0.001"}
    marked = re.findall(r'<option value="(\w+)"[^>]*>[^<]*chosen by validation', page)
    assert set(marked) == chosen
    assert len(set(re.findall(r'<option value="(\w+)" selected', page)) & chosen) == 1
    assert 'data-techniques="L2 0.001"' in page
