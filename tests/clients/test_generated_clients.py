"""Public generators create complete clients from docs/reference/openapi.json, and a linter reports no error.

They are downloaded in exact versions into a temporary folder: `make test-clients`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import regbench_up

pytestmark = pytest.mark.clients

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "reference" / "openapi.json"
PYTHON_GENERATOR = "openapi-python-client==0.29.1"
NPM_PACKAGES = (
    "@hey-api/openapi-ts@0.95.0",
    "@redocly/cli@2.77.0",
    "openapi-typescript@7.13.0",
    "typescript@5.9.3",
)
OPERATIONS = {
    operation["operationId"]
    for path in json.loads(DOCUMENT.read_text())["paths"].values()
    for operation in path.values()
}


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """The output of the command, which must succeed."""
    process = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def python_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("python")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    run(folder / "bin" / "pip", "install", "--quiet", PYTHON_GENERATOR, cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="module")
def node_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("the TypeScript generators and Redocly's linter need node and npm on the PATH")
    folder = tmp_path_factory.mktemp("node")
    run(npm, "install", "--silent", "--no-audit", "--no-fund", *NPM_PACKAGES, cwd=folder)
    return folder / "node_modules" / ".bin"


def test_c1_the_python_client_submits_waits_and_reports(python_tools: Path, tmp_path: Path) -> None:
    client = tmp_path / "client"
    path = f"{python_tools}{os.pathsep}{os.environ['PATH']}"
    run(
        python_tools / "openapi-python-client",
        *("generate", "--path", DOCUMENT, "--output-path", client),
        cwd=tmp_path,
        PATH=path,
    )
    generated = {module.stem for module in client.glob("regbench_client/api/*/*.py")} - {"__init__"}
    assert generated == {
        re.sub(r"([A-Z])", lambda letter: f"_{letter[1].lower()}", name) for name in OPERATIONS
    }
    script = Path(__file__).with_name("use_generated_client.py")
    with regbench_up(tmp_path / "stack" / "home") as stack:
        run(python_tools / "python", script, stack.url(), cwd=tmp_path, PYTHONPATH=str(client))


def test_c1_the_typescript_clients_are_complete_and_type_check(node_tools: Path, tmp_path: Path) -> None:
    run(node_tools / "openapi-typescript", DOCUMENT, "-o", "schema.d.ts", cwd=tmp_path)
    run(
        *(node_tools / "openapi-ts", "-i", DOCUMENT, "-o", "sdk", "-c", "@hey-api/client-fetch"), cwd=tmp_path
    )
    options = "--noEmit --strict --target es2022 --module esnext --moduleResolution bundler"
    run(
        *(node_tools / "tsc", *options.split(), "--lib", "es2022,dom,dom.iterable"),
        *("schema.d.ts", "sdk/index.ts", "sdk/sdk.gen.ts"),
        cwd=tmp_path,
    )
    types = (tmp_path / "schema.d.ts").read_text()
    operations = types.partition("export interface operations {")[2]
    assert set(re.findall(r"^    (\w+): \{", operations, re.MULTILINE)) == OPERATIONS
    functions = re.findall(
        r"^export const (\w+) =", (tmp_path / "sdk" / "sdk.gen.ts").read_text(), re.MULTILINE
    )
    assert set(functions) == OPERATIONS


def test_c2_redocly_finds_no_error_and_no_warning(node_tools: Path, tmp_path: Path) -> None:
    findings = tmp_path / "findings.json"
    findings.write_text(
        run(
            *(node_tools / "redocly", "lint", DOCUMENT, "--extends=recommended", "--format=json"),
            cwd=tmp_path,
            REDOCLY_TELEMETRY="off",
            REDOCLY_SUPPRESS_UPDATE_NOTICE="true",
        )
    )
    assert json.loads(findings.read_text())["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}
