"""Time and memory of ``k3dn deblur`` as a whole, files and libraries included: docs/performance.md.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.photograph [--size 4000x6000] [--model box:nano]
        [--memory 2GB] [--suffix .tif]

A pair of that size, 16 bit with noise (which no codec makes small), in a temporary folder; then the
command in a process of its own, which tells its processor time and the most memory that it ever had
resident.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from pipelines.deblur.metadata import Metadata
from pipelines.deblur.output import write_photograph
from pipelines.storage import locate

# At the end of the child, in it: what it inherits from nobody.
COMMAND = """
import sys, time
from pipelines.cli import run_command_line
code = run_command_line(sys.argv[1:])
from tests.benchmarks.memory import peak_mib
print(f"{time.process_time():.0f} s of the processor, {peak_mib():.0f} MiB at the peak")
sys.exit(code)
"""


def write_pair(folder: Path, suffix: str, height: int, width: int) -> None:
    """Write two views of waves and edges with noise."""
    y, x = (side.astype(np.float32) / 16 for side in np.ogrid[:height, :width])
    grey = 32768 + 16384 * np.sin(x + y) + 8192 * np.sign(np.sin(0.37 * x - 0.21 * y))
    noise = np.random.default_rng(0)
    for name, shift in (("left", -1), ("right", 1)):
        view = np.empty((height, width, 3), np.uint16)
        for channel in range(3):
            view[..., channel] = np.roll(grey, shift, 1) + noise.normal(0, 100, grey.shape)
        place = locate(f"{folder}/{name}{suffix}")
        write_photograph(place, view, Metadata(format="jpeg"), overwrite=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="4000x6000", help="height x width, px")
    parser.add_argument("--model", default="box:nano")
    parser.add_argument("--memory", help="as the key of k3dn deblur; none: as without it")
    parser.add_argument("--suffix", default=".tif")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="k3dn-benchmark-") as folder:
        height, width = map(int, chosen.size.split("x"))
        write_pair(Path(folder), chosen.suffix, height, width)
        left, right, output = (
            str(Path(folder, name + chosen.suffix)) for name in ("left", "right", "sharp")
        )
        keys = [f"model={chosen.model}", *([f"memory={chosen.memory}"] if chosen.memory else [])]
        words = ["deblur", left, right, "-o", output, "--json", *keys]
        subprocess.run([sys.executable, "-c", COMMAND, *words], check=True)


if __name__ == "__main__":
    main()
