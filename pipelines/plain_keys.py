"""Keys of a configuration from ``key=value`` words, by the standard library alone.

What ``pipelines.config_loader`` does with pydantic and YAML, for machines that have neither: no
file, no flags; types are those of the fields.
"""

import ast
import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pipelines.config import describe_keys, field_types, strip_none
from pipelines.errors import UserError

Config = TypeVar("Config")


def read_keys(config_class: type[Config], words: Sequence[str]) -> Config:
    """Return a configuration from words such as ``lr=1e-4`` or ``live.made=0.3``.

    Raises UserError for a word that is not KEY=VALUE, an unknown key and a value out of range.
    """
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"{word!r} is not key=value")
        given[key.strip()] = value
    return _make(config_class, given, "")


def _make(config_class: type[Config], given: Mapping[str, str], prefix: str) -> Config:
    hints = field_types(config_class)
    values: dict[str, Any] = {}
    inner: dict[str, dict[str, str]] = {}
    for key, text in given.items():
        name, dot, rest = key.partition(".")
        if name not in hints:
            raise UserError(_unknown(config_class, key, prefix))
        kind = strip_none(hints[name])[0]
        nested = dataclasses.is_dataclass(kind) or kind in (dict, dict[str, Any])
        if bool(dot) != nested:
            raise UserError(_unknown(config_class, key, prefix))
        if dot:
            inner.setdefault(name, {})[rest] = text
        else:
            values[name] = _value(hints[name], text, prefix + name)
    for name, words in inner.items():
        kind = strip_none(hints[name])[0]
        if dataclasses.is_dataclass(kind):
            values[name] = _make(typing.cast(type, kind), words, f"{prefix}{name}.")
        else:
            values[name] = {key: _free(text) for key, text in words.items()}
    try:
        return config_class(**values)
    except ValueError as error:
        raise UserError(str(error)) from error


def _value(annotation: Any, text: str, key: str) -> Any:
    kind, optional = strip_none(annotation)
    if optional and text.lower() in ("none", "null", ""):
        return None
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return [_value(arguments[0], part, key) for part in text.split(",")] if text else []
    if origin is Literal:
        if text in arguments:
            return text
        raise UserError(f"{key} must be one of {', '.join(map(str, arguments))}, got {text!r}")
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise UserError(f"{key} must be true or false, got {text!r}")
    if kind is str or origin in (typing.Union, types.UnionType):
        return text
    try:
        return kind(text)
    except ValueError as error:
        raise UserError(f"{key} must be {kind.__name__}, got {text!r}") from error


def _free(text: str) -> Any:
    """The value of a key whose type nobody knows, as one would write it in Python or YAML."""
    if text.lower() in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _unknown(config_class: type, key: str, prefix: str) -> str:
    known = [known.name for known in describe_keys(config_class)]
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {prefix}{near[0]}?" if near else f"; there are {', '.join(known)}"
    return f"unknown key {prefix}{key}{hint}"
