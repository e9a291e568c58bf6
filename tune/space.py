"""What a search tries: axes over the keys of train, and the points that are drawn from them.

All but TPE's are a pure function of the configuration and the point's number; TPE's depend on what
the points before came to, as well. Each is written down before it is tried, so a search that was
cut off goes on with those that are due.
"""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tune.config import FEATURES_PER_WIDTH, NUM_KERNELS, TuneConfig

Value = float | int | str | bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Combination:
    """One point of the search."""

    index: int
    """Its place in the plan."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """By key of train; ``num_kernels`` is N of Eq. 8, 9, which the network's width gives."""

    def __str__(self) -> str:
        """Return the values in words."""
        return ", ".join(f"{_short(key)}={shown(value)}" for key, value in self.values.items())


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]

    def at(self, place: float) -> Value:
        """Return the value at a place in [0, 1)."""
        return self.values[int(place * len(self.values))]

    def __str__(self) -> str:
        """Return the values, as they are typed."""
        return f"one of {', '.join(shown(value) for value in self.values)}"


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two, on a logarithmic scale or a plain one."""

    low: float
    high: float
    log: bool
    whole: bool
    """Whether it is a whole number."""

    def at(self, place: float) -> Value:
        """Return the number at a place in [0, 1), with four significant digits, so that a command
        line repeats it exactly."""
        if self.whole:
            return int(self.low) + int(place * (int(self.high) - int(self.low) + 1))
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            exact = math.exp(low + (high - low) * place)
        else:
            exact = self.low + (self.high - self.low) * place
        return min(max(float(f"{exact:.4g}"), self.low), self.high)

    def __str__(self) -> str:
        """Return the bounds in words."""
        kind = "whole numbers" if self.whole else "numbers"
        return f"{kind} from {self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


Axis = Choice | Range
Space = Mapping[str, Axis]


def space_of(config: TuneConfig) -> dict[str, Axis]:
    """Return the axes of a search. Raises ValueError for one that cannot be read."""
    if not config.space:
        low, high = config.lambda_1
        return {
            "lambda_1": Range(low, high, log=True, whole=False),
            NUM_KERNELS: Choice(tuple(sorted(set(config.num_kernels)))),
        }
    return {key: read_axis(key, given) for key, given in _flat(config.space).items()}


def read_axis(key: str, given: object) -> Axis:
    """Read an axis: a list of values, ``LOW..HIGH`` or ``LOW..HIGH log``.

    Raises ValueError that names the key.
    """
    if isinstance(given, str) and ".." in given:
        bounds, _, scale = given.partition(" ")
        texts = bounds.split("..")
        try:
            low, high = (float(text) for text in texts)
        except ValueError as error:
            raise ValueError(f"space.{key}: {given!r} is not LOW..HIGH or LOW..HIGH log") from error
        whole = all(text.lstrip("+-").isdigit() for text in texts)
        if scale.strip() not in ("", "log") or not -math.inf < low < high < math.inf:
            raise ValueError(f"space.{key}: {given!r} is not LOW..HIGH or LOW..HIGH log")
        if scale and (low <= 0 or whole):
            raise ValueError(f"space.{key}: {given!r}: log takes numbers above 0, written as 1.0")
        return Range(low, high, log=bool(scale), whole=whole)
    there: list[object] = list(given) if isinstance(given, list | tuple) else [given]
    if isinstance(given, str):
        there = [part.strip() for part in given.split(",") if part.strip()]
    values = [value for value in there if isinstance(value, Value)]
    if not values or len(values) < len(there):
        raise ValueError(f"space.{key} must be values, as [1,2,4], or a range, as 0.1..1")
    return Choice(tuple(dict.fromkeys(values)))


def draw(space: Space, config: TuneConfig, index: int) -> Combination | None:
    """Return the point of a number, for every sampler but tpe; None where a grid has no more.

    spread: a Latin hypercube. Each range is cut into ``trials`` equal parts and each part is drawn
    from once, each choice occurs equally often, give or take one: few trials then cover every
    axis, which independent draws do not.
    """
    if config.sampler == "grid":
        points = grid(space)
        if index >= len(points):
            return None
        return Combination(index=index, values=dict(zip(space, points[index], strict=True)))
    values: dict[str, Value] = {}
    for key, axis in space.items():
        place = random.Random(f"{config.seed}/{key}/{index}").random()
        if config.sampler == "spread":
            parts = list(range(config.trials))
            random.Random(f"{config.seed}/{key}").shuffle(parts)
            if isinstance(axis, Choice):
                place = (parts[index] % len(axis.values)) / len(axis.values)
            else:
                place = (parts[index] + place) / config.trials
        values[key] = axis.at(place)
    return Combination(index=index, values=values)


def grid(space: Space) -> list[tuple[Value, ...]]:
    """Return all points of a space of choices. Raises ValueError for a range."""
    for key, axis in space.items():
        if isinstance(axis, Range):
            raise ValueError(f"sampler=grid takes values to choose from: space.{key} is a range")
    choices = [axis.values for axis in space.values() if isinstance(axis, Choice)]
    return list(itertools.product(*choices))


def shown(value: object) -> str:
    """Return a value as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def train_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of train, dotted, that a combination sets."""
    keys = dict(values)
    if NUM_KERNELS in keys:
        keys["network.width"] = keys.pop(NUM_KERNELS) // FEATURES_PER_WIDTH
    return keys


def names_of(space: Sequence[str]) -> list[str]:
    """Return short headings for the axes of a space."""
    return [_short(key) for key in space]


def _short(key: str) -> str:
    return "N" if key == NUM_KERNELS else key


def _flat(given: Mapping[str, Any], above: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in given.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[above + key] = value
    return flat
