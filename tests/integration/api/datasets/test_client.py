"""The client and the command upload datasets to the service."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from regbench import Regbench
from regbench.cli.main import app
from regbench.errors import ClientError, ProblemError
from tests.integration.api.conftest import over_sqlite
from tests.unit.api.datasets.forms import as_csv, draw


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name, content in as_csv(draw(), header=True).items():
        (tmp_path / name).write_bytes(content)
    return sorted(tmp_path.glob("*.csv"))


@pytest.fixture
def regbench(client_without_broker: TestClient) -> Regbench:
    """The Python client over the application itself."""
    client = Regbench("http://testserver")
    send: Callable[..., httpx.Response] = client_without_broker.request
    client._http._http.request = lambda method, path, timeout, **request: send(method, path, **request)  # type: ignore[method-assign,assignment]
    return client


@over_sqlite
def test_the_client_uploads_previews_and_deletes(regbench: Regbench, files: list[Path]) -> None:
    preview = regbench.preview_dataset(files)
    assert len((preview.model_extra or {})["images"]) == 40
    stored = regbench.add_dataset("mine", files, test_fraction=0.2)
    assert (stored.name, stored.digest, stored.classes) == ("mine", preview.digest, 3)
    assert regbench.dataset("mine") == stored
    regbench.delete_dataset("mine")
    assert "mine" not in {dataset.name for dataset in regbench.datasets()}
    with pytest.raises(ProblemError, match="scale"):
        regbench.add_dataset("mine", files, scale=-1)
    with pytest.raises(ClientError, match="cannot be read"):
        regbench.add_dataset("mine", ["/nowhere/at.all"])


@over_sqlite
def test_the_command_shows_what_was_decided(
    regbench: Regbench, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regbench.cli.datasets.connect", lambda _url: regbench)
    monkeypatch.setattr(Regbench, "__exit__", lambda *_: None)
    names = [str(file) for file in files]

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["datasets", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    added = run("add", "mine", *names, "--set", "invert=false")
    assert "mine: 3 classes, 40 training and 10 test images" in added
    assert "scale: 0 to 255: whole numbers up to 255" in added
    assert run("show", "mine").splitlines()[0] in added
    assert "mine " in run("list")
    assert "preview: 3 classes" in run("preview", *names)
    assert "was removed" in run("rm", "mine")
