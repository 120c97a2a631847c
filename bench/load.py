"""Load by wrk (github.com/wg/wrk): a load tool in C leaves the processor to the server."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

CONNECTIONS = 16
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def measure_rate(
    url: str, seconds: int, *, headers: Mapping[str, str] | None = None, script: Path | None = None
) -> float:
    """Requests a second over sixteen connections, each of which sends again as soon as it is answered."""
    return float(_run_wrk(r"Requests/sec:\s+([\d.]+)", url, seconds, headers or {}, script)[1])


def count_requests(url: str, seconds: int, *, script: Path) -> int:
    """How many requests one server has answered in that time."""
    return int(_run_wrk(r"(\d+) requests in", url, seconds, {}, script)[1])


def measure_latency(url: str, seconds: int) -> float:
    """Median milliseconds of a response, over one connection."""
    match = _run_wrk(r"50%\s+([\d.]+)(us|ms|s)\b", url, seconds, {}, None, connections=1)
    return float(match[1]) * _MILLISECONDS[match[2]]


def _run_wrk(
    pattern: str,
    url: str,
    seconds: int,
    headers: Mapping[str, str],
    script: Path | None,
    connections: int = CONNECTIONS,
) -> re.Match[str]:
    """The match of `pattern` in wrk's output.

    Raises:
        SystemExit: wrk is not installed, or a response was an error.
    """
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("wrk is not installed; your system's packages have it: apt-get install wrk")
    command = [program, "--latency", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{seconds}s", "--timeout", "60s"]
    command += [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    command += ["--script", str(script)] if script else []
    output = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    match = re.search(pattern, output)
    if match is None or re.search(r"Non-2xx or 3xx responses: \d|Socket errors: ", output):
        raise SystemExit(f"{url} was not answered as it should be:\n{output}")
    return match


def write_post_script(document: str, folder: Path) -> Path:
    """A script for wrk that posts `document`, a JSON text."""
    script = folder / "post.lua"
    quoted = document.replace("\\", "\\\\").replace("'", "\\'")
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{quoted}'\nwrk.headers['Content-Type'] = 'application/json'\n"
    )
    return script


def write_get_script(paths: Sequence[str], folder: Path) -> Path:
    """A script for wrk that requests these paths in turn."""
    script = folder / "read.lua"
    script.write_text(
        f"local paths = {{{', '.join(map(json.dumps, paths))}}}\nlocal n = 0\n"
        "request = function() n = n + 1; return wrk.format('GET', paths[n % #paths + 1]) end\n"
    )
    return script
