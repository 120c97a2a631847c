"""docs/reference/commands.md is the output of `--help`; docs/reference/client.md names what exists.

After an intended change, rewrite the former: WRITE_COMMANDS=1 pytest tests/unit/regbench/test_reference.py.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from regbench.cli.main import app
from regbench.client import Regbench
from regbench.errors import ClientError, ProblemError, Unreachable, WaitTimeout
from regbench.reports import Report
from regbench.resources import Experiment, Job

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
COMMANDS = REFERENCE / "commands.md"
HEAD = """\
# The `regbench` command

What `--help` says (a test compares). Progress goes to stderr, data to stdout; with `--json` nothing but JSON
stands on stdout. `NO_COLOR` turns colours off. `regbench --install-completion` lets the shell complete
commands, ids and names.
"""
COLUMNS = 100


def names(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, as it is typed."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from names(inner, (*path, name))


GROUPS = {(), ("datasets",), ("experiment",), ("keys",)}
DESCRIBED = [Regbench, Job, Experiment, Report, ClientError, ProblemError, Unreachable, WaitTimeout]
ALL = list(names(typer.main.get_command(app)))


def help_of(path: tuple[str, ...]) -> str:
    result = CliRunner().invoke(
        app, [*path, "--help"], prog_name="regbench", terminal_width=COLUMNS, env={"COLUMNS": str(COLUMNS)}
    )
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_the_reference_of_commands_is_current() -> None:
    sections = [f"## {' '.join(('regbench', *path))}\n\n```text\n{help_of(path)}\n```\n" for path in ALL]
    text = "\n".join([HEAD, *sections])
    if os.environ.get("WRITE_COMMANDS"):
        COMMANDS.write_text(text)
    assert COMMANDS.read_text() == text


@pytest.mark.parametrize("path", [path for path in ALL if path not in GROUPS], ids=" ".join)
def test_every_command_has_json_and_an_example(path: tuple[str, ...]) -> None:
    text = help_of(path)
    assert "--json" in text
    assert f"regbench {' '.join(path)}" in text.partition("Example")[2]


@pytest.mark.parametrize("kind", DESCRIBED)
def test_every_method_of_the_client_is_documented(kind: type) -> None:
    page = (REFERENCE / "client.md").read_text()
    assert f"`{kind.__name__}`" in page
    section = page.partition(f"\n## `{kind.__name__}`")[2].partition("\n## ")[0]
    named = {name for name, _ in re.findall(r"^\| `(\w+)(\(.*?\))?`", section, flags=re.MULTILINE)}
    for name in named:
        assert hasattr(kind, name) or name in getattr(kind, "model_fields", {}), name
    if kind is Regbench:
        public = {name for name in dir(Regbench) if not name.startswith("_")}
        assert public - named == {"close"}
