"""`regbench predict` against a running stack, which starts a predictor by itself."""

import time
from pathlib import Path

from PIL import Image, ImageDraw

from regbench.client import Regbench
from tests.acceptance.conftest import DEADLINE_SECONDS, run
from tests.factories import job_spec


def test_a_drawn_one_is_recognized(url: str, client: Regbench, tmp_path: Path) -> None:
    job = client.submit_job(job_spec(model={"hidden_units": [64]}, training={"epochs": 5}))
    while not client.job(job.id).state.terminal:
        time.sleep(0.2)
    image = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(image).line([(120, 30), (100, 150)], fill="navy", width=14)
    image.save(tmp_path / "one.png")

    deadline = time.monotonic() + DEADLINE_SECONDS
    while (result := run("predict", job.id, str(tmp_path / "one.png"), REGBENCH_URL=url)).returncode:
        # It may still be importing TensorFlow.
        assert "predictor" in result.stderr or "predictions" in result.stderr
        assert time.monotonic() < deadline, result.stderr
        time.sleep(0.5)
    lines = result.stdout.splitlines()
    assert lines[0].startswith("one.png: 1 (")
    assert len(lines) == 11
