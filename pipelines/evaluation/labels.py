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
    labels: dict[str, str] = {}
    for row in rows:
        pair = (row["pair_id"] or "").strip()
        if not pair:
            raise UserError(f"labels={url}: line {rows.line_num} names no pair_id")
        if pair in labels:
            raise UserError(
                f"labels={url}: line {rows.line_num} names {pair} again; give each pair one line"
            )
        labels[pair] = (row["label"] or "").strip()
    return {pair: label for pair, label in labels.items() if label}


def on_labels(
    labels: Mapping[str, str], pairs: Mapping[str, Sequence[str]], where: str
) -> list[str]:
    """Return what a reader must know of labels: those of no pair, and pairs without one.

    labels: by pair_id. pairs: the pair_ids to measure on by dataset, name@version. where: the file,
    for messages. Raises UserError where no label is of any of them.
    """
    known = {pair_id for ids in pairs.values() for pair_id in ids}
    strangers = [pair_id for pair_id in labels if pair_id not in known]
    if len(strangers) == len(labels):
        reference, (example, *_) = next(iter(pairs.items()))
        raise UserError(
            f"labels={where}: no pair that is measured here has a label there; a pair_id of "
            f"{reference} is {example}"
        )
    found = []
    if strangers:
        found.append(
            f"labels: {len(strangers)} of {len(labels)} are of no pair that is measured here, such "
            f"as {strangers[0]}"
        )
    for reference, ids in pairs.items():
        without = sum(pair_id not in labels for pair_id in ids)
        if without:
            found.append(
                f"labels: {without} of {len(ids)} pairs of {reference} have none and count in the "
                "whole alone"
            )
    return found


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
