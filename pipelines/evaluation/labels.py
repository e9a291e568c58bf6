"""Labels of pictures, such as indoor and outdoor: figures of each beside those of the whole."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence

from pipelines.errors import UserError
from pipelines.scores import PairScore
from pipelines.storage import locate

COLUMNS = ("pair_id", "label")


def read_labels(url: str) -> dict[str, str]:
    """Return the label of each pair_id from a CSV with these two columns. Raises UserError."""
    try:
        text = locate(url).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"labels={url}: not to be read ({error})") from error
    rows = csv.DictReader(io.StringIO(text))
    if not set(COLUMNS) <= set(rows.fieldnames or ()):
        raise UserError(f"labels={url}: its first line must name the columns {', '.join(COLUMNS)}")
    labels = {row["pair_id"]: (row["label"] or "").strip() for row in rows}
    return {pair: label for pair, label in labels.items() if label}


def with_labels(scores: Sequence[PairScore], labels: Mapping[str, str]) -> list[PairScore]:
    """Return the scores and, behind those of each dataset, the same again as sets of one label.

    labels: by pair_id; a pair without one counts in the whole alone.
    """
    found: list[PairScore] = []
    for dataset in dict.fromkeys(score.dataset for score in scores):
        here = [score for score in scores if score.dataset == dataset]
        found += here
        for label in dict.fromkeys(sorted(labels.get(score.pair_id, "") for score in here)):
            if label:
                found += [
                    _as_of(score, f"{dataset}, {label}")
                    for score in here
                    if labels.get(score.pair_id) == label
                ]
    return found


def _as_of(score: PairScore, dataset: str) -> PairScore:
    return dataclasses.replace(score, dataset=dataset)
