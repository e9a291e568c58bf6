"""What a look at a set found, pair by pair: as rows, as lines, as the file of a version."""

import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.content.findings import Finding
from pipelines.dataset.names import escaped

_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("pair_id", "split", "severity", "kind", "text")),
        ("value", pa.float64()),
    ]
)
FAULT, DOUBT, NOTE = "fault", "doubt", "note"
_WORDS = {FAULT: "rejected", DOUBT: "doubtful", NOTE: "noted"}


@dataclass(frozen=True, slots=True)
class Row:
    """One finding about a pair, or about the set where pair_id is ''."""

    pair_id: str
    split: str
    severity: str
    """``fault`` rejects the pair, ``doubt`` warns, ``note`` says what was understood."""
    kind: str
    text: str
    value: float | None = None


def row_of(pair_id: str, split: str, finding: Finding) -> Row:
    """Return a finding as a row."""
    severity = FAULT if finding.fault else DOUBT
    return Row(pair_id, split, severity, finding.kind, finding.text, finding.value)


def each_once(rows: Iterable[Row]) -> list[Row]:
    """Return one row for each pair and kind, the first; those of the set come first."""
    first: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        what = row.text if not row.pair_id else ""
        first.setdefault((row.pair_id, row.kind, what), row)
    return sorted(first.values(), key=lambda row: (row.pair_id != "", row.pair_id, row.kind))


def as_parquet(rows: Sequence[Row]) -> bytes:
    """Return the content of ``_findings.parquet``."""
    sink = io.BytesIO()
    values = [
        {k: escaped(v) if isinstance(v, str) else v for k, v in asdict(r).items()} for r in rows
    ]
    pq.write_table(pa.Table.from_pylist(values, schema=_SCHEMA), sink)
    return sink.getvalue()


def as_lines(rows: Sequence[Row]) -> list[str]:
    """Return a table for a person: notes, then each kind with its count and an example."""
    lines = [row.text for row in rows if not row.pair_id and row.severity == NOTE]
    lines += [
        f"doubt about the set: {r.text}" for r in rows if not r.pair_id and r.severity != NOTE
    ]
    kinds: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.pair_id:
            kinds[row.severity, row.kind].append(row)
    order = sorted(kinds.items(), key=lambda item: ([*_WORDS].index(item[0][0]), -len(item[1])))
    table = [
        (
            _WORDS[severity],
            kind,
            str(len(found)),
            f"{escaped(found[0].pair_id)}: {found[0].text}",
        )
        for (severity, kind), found in order
    ]
    if not table:
        return lines
    table = [("", "finding", "pairs", "e.g."), *table]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    return lines + [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in table
    ]
