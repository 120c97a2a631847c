"""Runs the shell commands of a documentation page."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.acceptance.conftest import DEADLINE_SECONDS

ROOT = Path(__file__).parents[2]


def shell_blocks(page: str) -> list[str]:
    """The contents of a page's blocks that begin with ```sh, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def run_blocks(page: str, *, url: str, folder: Path, then: str = "", silent: bool = True) -> str:
    """Run a page's blocks, and `then`, in one shell that stops at the first error; returns its output.

    `silent`: nothing may be written to stderr, as `regbench` does with its messages.
    """
    script = "set -euo pipefail\n" + "".join(shell_blocks(page)) + f"\n{then}\n"
    done = subprocess.run(
        ["bash", "-c", script],  # noqa: S607 (the reader has a shell on the PATH)
        env=os.environ | {"REGBENCH_URL": url, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert not silent or done.stderr == ""
    return done.stdout
