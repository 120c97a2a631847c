"""The tools for language models, as functions and through the protocol's own client."""

import asyncio
import base64
import os
import sys
from importlib import import_module
from typing import Any

import pytest

from regbench.cli.mcp_server import Tools
from regbench.client import Regbench
from regbench.errors import ClientError
from tests.unit.regbench.conftest import Service
from tests.unit.regbench.documents import job, predictions, problem

PROGRESS = {"counts": {"queued": 1}, "total": 1, "fraction": 0.0, "finished": False, "eta_seconds": None}
EXPERIMENT = {"id": "exp_1", "name": "n", "progress": PROGRESS, "spec": {"large": 1}}
RECOMMENDATION = {"answers": [], "nearest": None, "abstains": True, "experiment": None}
NAMES = {"submit", "experiment", "show", "wait", "report", "recommend", "predict", "techniques"}


@pytest.fixture
def full(service: Service) -> Service:
    service.answer("POST /v1/jobs", (202, job()))
    service.answer("GET /v1/jobs/job_1", (200, job("succeeded")))
    service.answer("POST /v1/experiments", (202, EXPERIMENT))
    service.answer("GET /v1/experiments/exp_1", (200, EXPERIMENT))
    service.answer("GET /v1/experiments/exp_1/report", (200, b"# Report"))
    service.answer("POST /v1/jobs/job_1/predict", (200, predictions(3)))
    service.answer("POST /v1/recommendations", (200, RECOMMENDATION))
    service.answer("GET /v1/techniques/none", (404, problem(404, title="Not found")))
    return service


def test_each_tool_answers_in_short(full: Service) -> None:
    with Regbench(full.url) as client:
        tools = Tools(client)
        assert tools.submit({"seed": 1})["id"] == "job_1"
        created = tools.experiment({"preset": "dropout-vs-none"})
        assert (created["id"], created["finished"], "spec" in created) == ("exp_1", False, False)
        assert tools.show("job_1")["finished"]
        assert not tools.wait("exp_1", seconds=0)["finished"]
        assert tools.report("exp_1", baseline="b") == "# Report"
        assert tools.recommend({"train_examples": 5, "needs": ["sparsity"]})["abstains"]
        image = base64.b64encode(b"png").decode()
        assert tools.predict("job_1", [image])[0]["label"] == 3
        with pytest.raises(ClientError):
            tools.predict("job_1", ["no base64!"])
        with pytest.raises(ClientError):
            tools.experiment({"seed": 1})


def test_the_protocols_own_client_uses_them_over_stdio(full: Service) -> None:
    mcp = import_module("mcp")
    server = import_module("mcp.client.stdio").StdioServerParameters(
        command=sys.executable,
        args=["-m", "regbench.cli.main", "mcp"],
        env={**os.environ, "REGBENCH_URL": full.url},
    )

    async def use() -> tuple[set[str], Any, Any]:
        async with mcp.Client(server) as client:
            listed = await client.list_tools()
            made = await client.call_tool("submit", {"document": {"seed": 7}})
            refused = await client.call_tool("techniques", {"name": "none"})
            return {tool.name for tool in listed.tools}, made, refused

    names, made, refused = asyncio.run(asyncio.wait_for(use(), 60))
    assert names == NAMES
    assert "job_1" in made.content[0].text
    assert full.requests[0].body == {"seed": 7}
    assert refused.is_error
    assert "Not found" in refused.content[0].text
