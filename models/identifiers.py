"""Ids of new rows, and which names can be read."""

import secrets
import unicodedata

ID_PATTERN = r"^[A-Za-z0-9_-]{1,40}$"
OWNER_PATTERN = r"^[A-Za-z0-9_.@-]{1,40}$"


def create_id(kind: str) -> str:
    """A new id such as `job_5f0c...`: 96 random bits, safe in a URL and in a file name."""
    return f"{kind}_{secrets.token_hex(12)}"


# Hangul fillers and the empty Braille pattern are letters and a symbol to Unicode.
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def is_visible(text: str) -> bool:
    """Whether `text` has a character that can be seen: a letter, digit, punctuation mark or symbol."""
    return any(
        unicodedata.category(character)[0] in "LNPS" and character not in _BLANK_LETTERS for character in text
    )
