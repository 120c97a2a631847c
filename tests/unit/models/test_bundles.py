"""Damaged bundles are refused, whichever of their bytes is damaged."""

import json

import pytest

from models.bundles import pack, unpack
from models.errors import InvalidSpec

FILES = {f"{name}.json": json.dumps([name * index for index in range(300)]).encode() for name in "ab"}
LIMIT = 10_000_000


def test_an_undamaged_bundle_is_read() -> None:
    assert unpack(pack(FILES, {}), most_bytes=LIMIT) == FILES


def test_a_bundle_with_a_damaged_byte_in_a_member_is_refused() -> None:
    content, refused = pack(FILES, {}), 0
    # Deflated data begin behind the first member's header and name.
    for position in range(60, len(content) // 2):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        try:
            assert unpack(bytes(damaged), most_bytes=LIMIT) == FILES
        except InvalidSpec:
            refused += 1
    assert refused > 100
    with pytest.raises(InvalidSpec):
        unpack(content[: len(content) // 2], most_bytes=LIMIT)
