"""What it takes to compare the hashes of the pairs of all splits with each other.

    python -m tests.benchmarks.duplicates [--pairs 100000]

Made-up hashes, eight of ten pairs for training, one each for validation and test, as of a set too
large for signatures. Processor time of one process; the work is the same on a cluster.
"""

import argparse
import time

import numpy as np

from pipelines.dataset.record import SPLITS
from pipelines.ingest.compare_pairs import Shown, in_two_splits

SHARES = dict(zip(SPLITS, (0.8, 0.1, 0.1), strict=True))


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    hashes = rng.integers(1, 1 << 63, asked.pairs)
    splits = rng.choice(list(SHARES), asked.pairs, p=list(SHARES.values()))
    pairs = [
        Shown(f"p{n}", str(split), n, int(value), None)
        for n, (split, value) in enumerate(zip(splits, hashes, strict=True))
    ]
    count = {split: int((splits == split).sum()) for split in SPLITS}
    compared = 4 * (count["train"] * (count["val"] + count["test"]) + count["val"] * count["test"])
    start = time.process_time()
    found = len(list(in_two_splits(pairs)))
    took = time.process_time() - start
    print(
        f"{asked.pairs} pairs, {compared:.3g} comparisons: {took:.1f} s of processor time, "
        f"{compared / took:.2g} a second; {found} found"
    )


if __name__ == "__main__":
    main()
