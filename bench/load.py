"""Requests a second, by wrk (github.com/wg/wrk): a load tool in C leaves the processor to the server."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

CONNECTIONS = 16
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_MEDIAN = re.compile(r"50%\s+([\d.]+)(us|ms|s)\b")
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_COUNT = re.compile(r"(\d+) requests in")
_REFUSED = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_LOST = re.compile(r"Socket errors: (.*)")


def requests_per_second(
    url: str, seconds: int, *, headers: Mapping[str, str] | None = None, script: Path | None = None
) -> float:
    """What one server answers with sixteen connections that ask again as soon as they are answered.

    Raises:
        SystemExit: wrk is not there, or an answer was an error.
    """
    return float(_told(_RATE, _load(url, seconds, headers or {}, script))[1])


def requests_answered(url: str, seconds: int, *, script: Path) -> int:
    """How many requests one server has answered meanwhile.

    Raises:
        SystemExit: wrk is not there, or an answer was an error.
    """
    return int(_told(_COUNT, _load(url, seconds, {}, script))[1])


def median_milliseconds(url: str, seconds: int) -> float:
    """How long one server takes for an answer, asked by one connection again and again.

    Raises:
        SystemExit: wrk is not there, or an answer was an error.
    """
    result = _told(_MEDIAN, _load(url, seconds, {}, None, connections=1))
    return float(result[1]) * _MILLISECONDS[result[2]]


def _told(what: re.Pattern[str], printed: str) -> re.Match[str]:
    match = what.search(printed)
    if match is None:
        raise SystemExit(f"wrk says something else than it should:\n{printed}")
    return match


def _load(
    url: str, seconds: int, headers: Mapping[str, str], script: Path | None, connections: int = CONNECTIONS
) -> str:
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("wrk is not installed; your system's packages have it: apt-get install wrk")
    command = [program, "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    command += ["--latency"]
    command += [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    command += ["--script", str(script)] if script else []
    printed = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    if _REFUSED.search(printed) or _LOST.search(printed):
        raise SystemExit(f"{url} was not answered as it should be:\n{printed}")
    return printed


def posting(document: str, folder: Path) -> Path:
    """A script for wrk that posts `document`, a JSON text."""
    script = folder / "post.lua"
    quoted = document.replace("\\", "\\\\").replace("'", "\\'")
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{quoted}'\nwrk.headers['Content-Type'] = 'application/json'\n"
    )
    return script


def reading(paths: Sequence[str], folder: Path) -> Path:
    """A script for wrk that asks for these paths in turn."""
    script = folder / "read.lua"
    listed = ", ".join(f"'{path}'" for path in paths)
    script.write_text(
        f"local paths = {{{listed}}}\nlocal n = 0\n"
        "request = function() n = n + 1; return wrk.format('GET', paths[n % #paths + 1]) end\n"
    )
    return script
