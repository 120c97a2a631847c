"""Seeds for every random part of a job, each from (job seed, role), so that no part disturbs another."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def derive_seed(seed: int, role: str) -> int:
    """A seed in 0..2^31-1 for one role, such as `hidden_1/kernel`.

    Adding a Dropout layer must not change the weights that later layers start from; with one generator
    for all, as in Keras, it does.
    """
    digest = hashlib.sha256(f"{seed}/{role}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def shuffle_examples(seed: int, epoch: int, rows: int) -> NDArray[np.int32]:
    """The order (rows,) in which an epoch visits the examples: each epoch's own, the same after a resume."""
    return np.random.default_rng([seed, epoch]).permutation(rows).astype(np.int32)
