"""The wheel's client works beside a user's own models.py and api.py, on base dependencies alone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXTRAS = "alembic celery fastapi fsspec keras numpy pandas redis scipy sqlalchemy tensorflow uvicorn"
USERS_MODULES = ("api", "client", "migrations", "models", "worker")
BLOCK_EXTRAS = f"import sys\nsys.modules.update(dict.fromkeys({EXTRAS.split()}))\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("regbench-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a user works."""
    for name in USERS_MODULES:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('the user\\'s {name}.py was imported')\n")
    return tmp_path


def test_c3_the_client_imports_none_of_the_users_modules(installed: Path, folder: Path) -> None:
    program = BLOCK_EXTRAS + (
        "import regbench\n"
        "with regbench.Regbench('http://127.0.0.1:9', retries=0) as client:\n"
        "    assert not client.is_alive()\n"
        f"assert not set(sys.modules) & {set(USERS_MODULES)}\n"
        "print(regbench.__file__)\n"
    )
    (folder / "use.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "use.py"], cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(installed / "regbench/__init__.py")), done.stderr


def test_c3_the_command_works_without_the_extras(installed: Path, folder: Path) -> None:
    """As its console script, which does not import from the current folder."""
    program = BLOCK_EXTRAS + "from regbench.cli.main import app\napp()\n"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    for arguments, code in ((["--version"], 0), (["jobs", "--url", "http://127.0.0.1:9"], 4)):
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, *arguments],
            cwd=folder,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
