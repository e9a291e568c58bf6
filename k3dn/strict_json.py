"""JSON of anybody's, less what the format leaves open."""

import json
import math


def parse_json(text: str) -> object:
    """``json.loads``, less what JSON leaves open. Raises ValueError.

    Refuses keys that appear twice, numbers that are not finite, and unbounded nesting.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite
        )
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} appears twice")
        found[name] = value
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value
