"""Clients that public tools generate from docs/reference/openapi.json."""
