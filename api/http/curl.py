"""The same request from a shell."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from models.settings import Settings


def format_curl(settings: Settings, base_url: str, path: str, document: Mapping[str, Any]) -> str:
    """The command that POSTs a JSON document."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    # Names in any script stay as short as they were posted; what a terminal would obey is escaped.
    printable = "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)
    # The variable that the Python client and the command line read too.
    key = ' -H "Authorization: Bearer $REGBENCH_API_KEY"' if settings.api_keys_required != "false" else ""
    url = shlex.quote(base_url.rstrip("/") + path)
    return f"curl -sS {url}{key} -H 'Content-Type: application/json' -d {shlex.quote(printable)}"
