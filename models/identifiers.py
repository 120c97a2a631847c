"""Ids of new rows."""

import secrets

ID_PATTERN = r"^[A-Za-z0-9_-]{1,40}$"
OWNER_PATTERN = r"^[A-Za-z0-9_.@-]{1,40}$"


def create_id(kind: str) -> str:
    """A new id such as `job_5f0c...`: 96 random bits, safe in a URL and in a file name."""
    return f"{kind}_{secrets.token_hex(12)}"
