"""Secrets that the database keeps, such as those of webhooks: encrypted where the settings name a key."""

from base64 import urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from models.errors import RegbenchError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

_PREFIX = "fernet:"
"""What an encrypted secret begins with; one that was stored without a key does not."""


class UnknownKey(RegbenchError):
    """A secret is encrypted with a key that the settings do not name."""

    code = "unknown_encryption_key"


def encrypt_secret(secret: str, keys: str) -> str:
    """The secret as it is stored: encrypted with the first of the keys, or as it is if there are none."""
    if not keys:
        return secret
    return _PREFIX + _build_ciphers(keys)[0].encrypt(secret.encode()).decode()


def decrypt_secret(stored: str, keys: str) -> str:
    """The secret that was stored, with one of the keys or without any.

    Raises:
        UnknownKey: none of the keys is the one that encrypted it.
    """
    if not stored.startswith(_PREFIX):
        return stored
    from cryptography.fernet import InvalidToken  # noqa: PLC0415 (only where secrets are encrypted)

    for cipher in _build_ciphers(keys):
        try:
            return cipher.decrypt(stored.removeprefix(_PREFIX)).decode()
        except InvalidToken:
            continue
    raise UnknownKey("The secret is encrypted with a key that REGBENCH_ENCRYPTION_KEYS does not contain.")


def encrypt_again(stored: str, keys: str) -> str:
    """A stored secret encrypted with the first of the keys; unchanged if it is, or if there are none.

    Raises:
        UnknownKey: none of the keys is the one that encrypted it.
    """
    if keys and stored.startswith(_PREFIX):
        with suppress(UnknownKey):
            decrypt_secret(stored, keys.partition(",")[0])
            return stored
    return encrypt_secret(decrypt_secret(stored, keys), keys)


def _build_ciphers(keys: str) -> list["Fernet"]:
    from cryptography.fernet import Fernet  # noqa: PLC0415 (as above)

    # A passphrase of any form; Fernet takes 32 bytes in base64.
    digests = [sha256(key.strip().encode()).digest() for key in keys.split(",") if key.strip()]
    return [Fernet(urlsafe_b64encode(digest)) for digest in digests]
