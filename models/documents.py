"""JSON documents, and merge patches of them (RFC 7396). Pure."""

from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: `patch` laid over `target`, neither of them changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def create_merge_patch(document: Document, target: Document) -> Document:
    """The patch (RFC 7396) that makes `target` of `document`, where null and missing mean the same."""
    patch: Document = dict.fromkeys(document.keys() - target.keys())
    for key, value in target.items():
        current = document.get(key)
        if isinstance(value, dict) and isinstance(current, dict):
            if changes := create_merge_patch(current, value):
                patch[key] = changes
        elif value != current or key not in document:
            patch[key] = value
    return patch


def flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The document's values by their dotted paths: `{"a.b": 1}` of `{"a": {"b": 1}}`."""
    values: dict[str, Any] = {}
    for key, value in document.items():
        values |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return values
