"""Random numbers that depend on a seed and a name, never on a worker or on time."""

import hashlib

import numpy as np


def generator(seed: int, name: str) -> np.random.Generator:
    """A random stream for one named thing, the same on every machine and in every order.

    seed: the seed of the whole data set. name: what is drawn, such as a pair_id.
    """
    digest = hashlib.sha256(f"{seed}\0{name}".encode(errors="surrogateescape")).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
