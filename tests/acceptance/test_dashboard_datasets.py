"""The page of datasets in a real browser: files are shown, stored, trained on, and removed."""

from pathlib import Path

from playwright.sync_api import Page, expect

from regbench.client import Regbench
from tests.acceptance.browsing import NEEDS_CHROMIUM, check_accessibility
from tests.acceptance.conftest import DEADLINE_SECONDS
from tests.unit.api.datasets.forms import as_kmnist, draw

pytestmark = NEEDS_CHROMIUM

TIMEOUT_MS = 1000 * DEADLINE_SECONDS


def test_a_dataset_is_shown_before_it_is_stored_and_trained_on(
    page: Page, client: Regbench, tmp_path: Path
) -> None:
    for name, content in as_kmnist(draw(train=200, test=40)).items():
        (tmp_path / name).write_bytes(content)
    page.goto("/new/dataset")
    page.get_by_label("Name", exact=True).fill("letters")
    page.get_by_label("Files", exact=True).set_input_files(sorted(tmp_path.glob("*.npz")))
    expect(page.get_by_role("button", name="Store the dataset")).to_be_disabled()
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Class names", exact=True).fill("cat, dog, eel")
    page.get_by_role("button", name="Show what is read").click()
    expect(page.locator("#images li")).to_have_count(64, timeout=TIMEOUT_MS)
    expect(page.locator("#sizes")).to_have_text("3 classes, 200 training images, 40 test images")
    expect(page.locator("#decisions")).to_contain_text("whole numbers up to 255")
    assert "letters" not in {dataset.name for dataset in client.datasets()}
    check_accessibility(page, "/new/dataset")
    page.get_by_role("button", name="Store the dataset").click()
    expect(page.get_by_role("button", name="Remove letters")).to_be_visible(timeout=TIMEOUT_MS)
    page.goto("/new")
    page.get_by_label("Dataset").first.select_option("letters")
    spec = {"dataset": {"name": "letters"}, "model": {"hidden_units": [8]}, "training": {"epochs": 1}}
    job = client.submit(spec).wait(timeout=DEADLINE_SECONDS)
    assert str(job.state) == "succeeded"
    page.goto(f"/jobs/{job.id}")
    expect(page.locator(".confusion tbody th")).to_have_text(["cat", "dog", "eel"])
    prediction = {"label": 1, "confidence": 0.8, "probabilities": [0.1, 0.8, 0.1], "warnings": []}
    item = {"job_id": job.id, "predictions": [prediction], "class_names": ["cat", "dog", "eel"]}
    images = [[[0] * 28] * 28]
    # In place of the predictor, which may still be importing TensorFlow.
    page.route("**/v1/predict?*", lambda route: route.fulfill(json={"items": [item], "images": images}))
    page.goto(f"/try?left={job.id}&right={job.id}")
    page.locator("#pad").press("1")
    expect(page.locator(".bars").first.locator(".label")).to_have_text(["cat", "dog", "eel"])
    expect(page.locator("#agreement")).to_have_text("Both predict dog with equal confidence.")
    page.goto("/new/dataset")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove letters").click()
    expect(page.get_by_text("You have not uploaded any.")).to_be_visible(timeout=TIMEOUT_MS)


def test_what_is_wrong_with_a_file_is_said_beside_the_form(page: Page, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("1,2,3\n")
    page.goto("/new/dataset")
    page.get_by_label("Name", exact=True).fill("letters")
    page.get_by_label("Files", exact=True).set_input_files([tmp_path / "train.csv"])
    page.get_by_role("button", name="Show what is read").click()
    expect(page.get_by_role("alert").filter(has_text="train.csv: row 1: 3 columns")).to_be_visible()
