"""`regbench mcp`: the service as tools of the Model Context Protocol, over stdin and stdout."""

import base64
import binascii
from collections.abc import Callable
from functools import wraps
from importlib.metadata import version
from typing import Any

from regbench.base import Document
from regbench.cli.options import Url, is_experiment_id
from regbench.client import Regbench
from regbench.documents import is_experiment
from regbench.errors import ClientError, WaitTimeout
from regbench.resources import Experiment, Job

_MAX_WAIT_SECONDS = 600
_INSTRUCTIONS = """\
Regbench trains MNIST networks with and without regularization and compares them with statistics. Ask
`techniques` what there is, submit a job or an experiment (variants with several seeds), `wait` for it,
then read its `report`. Quote the report's headline and verdicts, and claim no difference that they do
not."""


class Tools:
    """What a language model can do; the docstrings are what it reads."""

    def __init__(self, client: Regbench) -> None:
        self._client = client

    def submit(self, document: Document) -> Document:
        """Submit one training job: {"dataset": {"name": "mnist_5k"}, "regularization": {"dropout": {}}}.

        {"from": "job_...", ...} repeats a job with changes. Returns its id.
        """
        return _summarize(self._client.submit_job(document))

    def experiment(self, document: Document, dry_run: bool = False) -> Document:
        """Submit an experiment: variants of a base, each with several seeds, compared with a baseline.

        Either {"preset": "dropout-vs-none", "replicates": 6} or {"name", "base", "variants": [{"name",
        "changes"}], "replicates", "baseline"}. Six seeds are the fewest from which a difference may be
        called. With dry_run only its cost is estimated. Returns its id.
        """
        if dry_run:
            return self._client.estimate_cost(document).model_dump(mode="json")
        if not is_experiment(document):
            raise ClientError("An experiment has variants, a preset, or `from` with an experiment's id.")
        return _summarize(self._client.create_experiment(document))

    def show(self, id: str) -> Document:  # noqa: A002 (the name that the model reads)
        """A job's or an experiment's state, progress, result or headline, by its id."""
        return _summarize(self._load(id))

    def wait(self, id: str, seconds: int = 60) -> Document:  # noqa: A002 (as above)
        """The same once it has ended, or after so many seconds (600 at most): see `finished`."""
        wait = self._client.wait_for_experiment if is_experiment_id(id) else self._client.wait_for_job
        try:
            return _summarize(wait(id, min(seconds, _MAX_WAIT_SECONDS)))
        except WaitTimeout:
            return _summarize(self._load(id))

    def report(self, id: str, baseline: str | None = None) -> str:  # noqa: A002 (as above)
        """The report of an experiment as Markdown: headline, verdicts, tables, methods."""
        return self._client.report(id, "md", baseline=baseline).decode()

    def recommend(self, task: Document) -> Document:
        """What the service's own experiments say about choosing a technique for a task.

        {"train_examples": 1000, "parameters": 200000, "seconds": null, "needs": ["accuracy", "calibration",
        "sparsity", "robustness"]}. Where it abstains, `experiment` is one that would answer.
        """
        return self._client.recommend(**task).model_dump(mode="json")

    def predict(self, job_id: str, images: list[str]) -> list[Document]:
        """What digit a succeeded job's model sees in PNG or JPEG images, each given in Base64."""
        try:
            contents = [base64.b64decode(image, validate=True) for image in images]
        except binascii.Error:
            raise ClientError("An image is not Base64.") from None
        return [item.model_dump(mode="json") for item in self._client.predict(job_id, contents).predictions]

    def techniques(self, name: str | None = None) -> list[Document]:
        """Every regularization technique, or one in full: effect, when to use it, pitfalls, parameters."""
        if name is not None:
            return [self._client.technique(name).model_dump(mode="json")]
        return [
            item.model_dump(mode="json", include={"name", "title", "when_to_use", "pitfall"})
            for item in self._client.techniques()
        ]

    def _load(self, resource_id: str) -> Job | Experiment:
        if is_experiment_id(resource_id):
            return self._client.experiment(resource_id)
        return self._client.job(resource_id)


def _summarize(resource: Job | Experiment) -> Document:
    if isinstance(resource, Experiment):
        fields = {"id", "name", "baseline", "progress", "headline", "best"}
        return resource.model_dump(mode="json", include=fields) | {"finished": resource.finished}
    fields = {"id", "name", "state", "progress", "error", "result", "experiment_id", "variant"}
    return resource.model_dump(mode="json", include=fields) | {"finished": resource.state.terminal}


def build_server(client: Regbench) -> Any:
    """A server with the tools, which its `run` starts."""
    from mcp.server.mcpserver import MCPServer  # noqa: PLC0415 (an extra)
    from mcp.server.mcpserver.exceptions import ToolError  # noqa: PLC0415 (an extra, which may be absent)

    def report_errors(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return function(*arguments, **named)
            except ClientError as error:
                raise ToolError(" ".join(filter(None, (error.message, error.hint)))) from None

        return call

    server = MCPServer("regbench", instructions=_INSTRUCTIONS, version=version("regbench"))
    tools = Tools(client)
    for name in ("submit", "experiment", "show", "wait", "report", "recommend", "predict", "techniques"):
        server.add_tool(report_errors(getattr(tools, name)), name=name)
    return server


def mcp(url: Url = None) -> None:
    """Serve a language model's client over stdin and stdout (Model Context Protocol).

    Stdout carries the protocol's JSON only, so that there is no --json. REGBENCH_URL and REGBENCH_API_KEY
    name the service and the key. Needs `pip install 'regbench[mcp]'`.

    \b
    Example:
      claude mcp add regbench -- regbench mcp
    """
    with Regbench(url) as client:
        build_server(client).run("stdio")
