"""docs/how-to/several-machines.md, followed to the letter: two machines are two homes and environments.

The commands themselves are compared with those of the embedded stack in tests/unit/test_compose.py.
"""

import io
import os
import re
import shlex
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from models.settings import Settings
from regbench.client import Regbench
from regbench.local.ports import find_free_port
from regbench.local.process import Child, run_module
from regbench.resources import JobState
from tests import servers

PAGE = (Path(__file__).parents[2] / "docs/how-to/several-machines.md").read_text()
VARIABLES = re.findall(r"^   (\w+)='", PAGE, re.MULTILINE)
# In the order of the page: the migration, the API, a worker, the predictor.
LINES = re.findall(r"^   python (-m .*)$", re.sub(r" \\\n\s+", " ", PAGE), re.MULTILINE)
COMMANDS = [shlex.split(line) for line in LINES]
SPEC = {"dataset": {"name": "mnist_5k"}, "model": {"hidden_units": [16]}, "training": {"epochs": 2}}


def test_the_page_has_all_commands_and_variables() -> None:
    assert [command[1] for command in COMMANDS] == ["migrations", "uvicorn", "celery", "celery"]
    settings = {name.removeprefix("REGBENCH_").lower() for name in VARIABLES if name != "PGPASSWORD"}
    assert settings == {"database_url", "broker_url", "artifacts_url", "home"} <= Settings.model_fields.keys()


@pytest.mark.slow
def test_two_machines_train_and_predict_as_the_page_says(
    tmp_path: Path, postgresql: str, redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "REGBENCH_DATABASE_URL": servers.empty_postgresql(postgresql),
        "PGPASSWORD": "",
        "REGBENCH_BROKER_URL": f"redis+socket://{redis_socket}",
        "REGBENCH_ARTIFACTS_URL": str(tmp_path / "artifacts"),
        "REGBENCH_WORKER_CONCURRENCY": "1",  # two worker machines on this one
    }
    assert {*values, "REGBENCH_HOME"} >= {*VARIABLES}
    # `auto`, as on a new machine.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGBENCH_API")}
    port = find_free_port("127.0.0.1")
    with ExitStack() as stack:

        def start(machine: str, index: int, *options: str) -> Child:
            home = tmp_path / machine
            home.mkdir(exist_ok=True)
            command = [sys.executable, *COMMANDS[index], *options]
            log = home / f"{index}.log"
            own = environment | values | {"REGBENCH_HOME": str(home)}
            child = Child(f"command {index}", command, log=log, environment=own)
            stack.callback(child.stop, 30.0)
            return child

        start("first", 0).finish(60.0)
        parts = [
            start("first", 1, "--port", str(port)),
            start("first", 2),
            start("second", 2),
            start("second", 3),
        ]
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        key = run_module(
            Settings(home=tmp_path / "first"), ("-m", "regbench.cli.main", "keys", "create", "test")
        )
        client = stack.enter_context(Regbench(f"http://127.0.0.1:{port}", api_key=key.strip()))
        deadline = time.monotonic() + 180
        while not (client.is_alive() and client.readiness().missing == []):
            assert time.monotonic() < deadline
            for part in parts:
                part.check()
            time.sleep(0.2)
        jobs = client.submit_jobs([SPEC | {"seed": seed} for seed in range(6)])
        finished = [client.wait_for_job(job.id, timeout=180) for job in jobs]
        assert {job.state for job in finished} == {JobState.SUCCEEDED}
        image, file = Image.new("L", (28, 28)), io.BytesIO()
        ImageDraw.Draw(image).line((14, 4, 14, 24), fill=255, width=3)
        image.save(file, "PNG")
        assert len(client.predict(jobs[0].id, [file.getvalue()]).predictions) == 1
    assert (tmp_path / "artifacts" / "jobs").is_dir()
    assert not (tmp_path / "second" / "artifacts").exists()
    workers = [(tmp_path / machine / "2.log").read_text() for machine in ("first", "second")]
    assert all(re.search(r"job_[0-9a-f]{24}", log) for log in workers)
