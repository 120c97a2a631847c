"""The same request from a shell."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from models.settings import Settings


def format_curl(
    settings: Settings, base_url: str, path: str, document: Mapping[str, Any] | None = None
) -> str:
    """The command that POSTs a JSON document; without one it ends where the quoted document goes."""
    parts = ["curl -sS", shlex.quote(base_url.rstrip("/") + path)]
    if settings.api_keys_required != "false":
        # The variable that the Python client and the command line read too.
        parts.append('-H "Authorization: Bearer $REGBENCH_API_KEY"')
    parts.append("-H 'Content-Type: application/json' -d")
    if document is not None:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        # Names in any script stay as short as they were posted; what a terminal would obey is escaped.
        printable = "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)
        parts.append(shlex.quote(printable))
    return " ".join(parts)
