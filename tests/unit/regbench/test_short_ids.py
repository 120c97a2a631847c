"""Every command that takes the id of a job or an experiment takes a short one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from regbench.cli.main import app
from tests.unit.regbench.conftest import Service
from tests.unit.regbench.documents import page

JOB, EXPERIMENT = "job_0123456789abcdef01234567", "exp_0123456789abcdef01234567"
ID_PARAMETERS = {"job_id", "experiment_id", "ids", "resource_id", "source"}
OTHERS = {
    "submit": ["--from"],
    "edit": ["--name", "new"],
    "predict": ["--invert", "true"],
    "test-predictions": ["--output", "out.npz"],
    "report": ["--format", "md"],
    "extend": ["--seeds", "7"],
}


def find_commands(group: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each command with a parameter that is an id, and that parameter."""
    for name, command in getattr(group, "commands", {}).items():
        yield from find_commands(command, (*path, name))
        for parameter in command.params:
            if parameter.name in ID_PARAMETERS:
                yield (*path, name), parameter.name


COMMANDS = list(find_commands(typer.main.get_command(app)))


def test_commands_with_ids_are_found() -> None:
    assert {("submit",), ("watch",), ("edit",), ("delete",), ("report",)} <= {path for path, _ in COMMANDS}


@pytest.mark.parametrize(("command", "parameter"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_a_short_id_is_sent_whole(
    command: tuple[str, ...],
    parameter: str,
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seven.png").write_bytes(b"")
    service.answer("GET /v1/jobs", (200, page({"id": JOB})))
    service.answer("GET /v1/experiments", (200, page({"id": EXPERIMENT})))
    whole = EXPERIMENT if parameter == "experiment_id" else JOB
    before, after = OTHERS.get(command[-1], []), ["seven.png"] if command == ("predict",) else []
    arguments = [*command, *before, whole[:12], *after, "--url", service.url]
    result = CliRunner().invoke(app, arguments, input="y\n")
    sent = [
        json.dumps([request.path, request.query, request.body], default=str) for request in service.requests
    ]
    assert any(whole in text for text in sent), result.output
    assert not any(f'{whole[:12]}"' in text or f"{whole[:12]}/" in text for text in sent)
