"""What is trained and scored once a seed, in processes, and the table of it."""

import json
import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

Scores = dict[str, float]


def over_seeds(
    measure: Callable[..., Scores],
    jobs: Mapping[tuple[str, int], tuple[Any, ...]],
    processes: int,
    out: Path,
) -> dict[str, dict[str, Scores]]:
    """Return scores by name and seed; they are written to ``out`` as they come.

    jobs: what ``measure`` is called with, by name and seed, in the order of their start.
    """
    results: dict[str, dict[str, Scores]] = {name: {} for name, _ in jobs}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        runs = {pool.submit(measure, *given): job for job, given in jobs.items()}
        for run in as_completed(runs):
            name, seed = runs[run]
            results[name][str(seed)] = run.result()
            out.write_text(json.dumps(results))
    return results


def table(results: Mapping[str, Mapping[str, Scores]]) -> str:
    """Scores by row, an arm a column, as Markdown."""
    rows = list(dict.fromkeys(key for arm in results.values() for s in arm.values() for key in s))
    lines = ["| gain, dB | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for row in rows:
        cells = []
        for by_seed in results.values():
            values = [scores[row] for scores in by_seed.values()]
            cell = f"{np.mean(values):+.2f}"
            if len(values) > 1:
                cell += f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2f}"
            cells.append(cell)
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
