"""The configuration of a step: the keys that every step has, and what a step's keys are.

Imports nothing outside the standard library, so that help is printed without importing a step.
Reading from YAML and from the command line is in ``pipelines.config_loader``.
"""

import ast
import dataclasses
import hashlib
import inspect
import itertools
import json
import re
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

SHARED_KEYS = ("root", "tracking_uri", "ray_address")
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/]*@")
_IDENTITY = "identity"
_ASIDE = "aside"
BY_CONTENT = {_IDENTITY: "by content"}
"""Metadata of a field that decides by what it leads to: a digest has the files of a folder, or the
scenes that were planned, and not the field."""
T = TypeVar("T")


def aside(default: T) -> T:
    """A field that says where and how a result is made: no digest has it, and a version, a run or
    a search may go on with another value."""
    made: T = dataclasses.field(default=default, metadata={_IDENTITY: _ASIDE})
    return made


def by_content(default: T) -> T:
    """A field that decides by what it leads to."""
    made: T = dataclasses.field(default=default, metadata=BY_CONTENT)
    return made


def by_content_of(factory: Callable[[], T]) -> T:
    """The same for a default that can be changed, such as a list."""
    made: T = dataclasses.field(default_factory=factory, metadata=BY_CONTENT)
    return made


@dataclass(frozen=True, kw_only=True, slots=True)
class StepConfig:
    """What every step needs to know. Steps add their own fields."""

    root: str = aside("k3dn-data")
    """Where datasets, runs and reports lie: a folder or a URL such as s3://bucket/prefix."""
    tracking_uri: str | None = aside(None)
    """MLflow store. None: MLFLOW_TRACKING_URI where set, else a SQLite file under a local root."""
    ray_address: str | None = aside(None)
    """Ray cluster. None: the cluster of the job, else a private one on this machine."""

    @classmethod
    def fill_in(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values for keys that are not given; steps with presets have some.

        values: those given, before they are checked.
        """
        return {}

    def place(self) -> dict[str, Any]:
        """Return the keys that every step has, to hand on to another step."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(StepConfig)}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a step as help shows it."""

    name: str
    """Dotted name, as one writes it on the command line."""
    type: str
    """Its type in words."""
    default: str
    """Its default as one would write it; 'required' where there is none."""
    doc: str
    """The line under the field."""
    shared: bool
    """True for the keys that every step has."""


def as_dict(config: object) -> dict[str, Any]:
    """Return a configuration dataclass as plain nested dicts and lists."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"not a configuration: {config!r}")
    return dataclasses.asdict(config)


def settings_of(config: object) -> dict[str, Any]:
    """Return a step's configuration without the keys that say where it runs."""
    return {key: value for key, value in as_dict(config).items() if key not in SHARED_KEYS}


def as_recorded(config: object) -> dict[str, Any]:
    """Return a configuration as it is written down: whoever may read it needs no password."""

    def record(values: dict[str, Any]) -> dict[str, Any]:
        return {
            key: record(value)
            if isinstance(value, dict)
            else without_password(value)
            if key == "tracking_uri" and value
            else value
            for key, value in values.items()
        }

    return record(as_dict(config))


def without_password(uri: str) -> str:
    """Return a URI as it may be shown and written down."""
    return _PASSWORD.sub(r"\1:***@", uri)


def keys_aside(config_class: type) -> tuple[str, ...]:
    """Return the fields that decide nothing of the result, in their order."""
    fields = dataclasses.fields(config_class)
    return tuple(field.name for field in fields if field.metadata.get(_IDENTITY) == _ASIDE)


def deciding(config: object) -> dict[str, Any]:
    """Return what a digest takes of a configuration as it stands: all fields, and those of the
    groups inside, that are not declared to be ``aside`` or ``by_content``."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"not a configuration: {config!r}")
    found = {}
    for field in dataclasses.fields(config):
        if _IDENTITY not in field.metadata:
            value = getattr(config, field.name)
            found[field.name] = deciding(value) if dataclasses.is_dataclass(value) else value
    return found


def config_digest(config: object, *, without: tuple[str, ...] = SHARED_KEYS) -> str:
    """Return the sha256 (hex) of a configuration, less the top-level keys in ``without``."""
    values = {key: value for key, value in as_dict(config).items() if key not in without}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def strip_none(annotation: Any) -> tuple[Any, bool]:
    """Split ``T | None`` into (T, True); any other annotation comes back with False."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = typing.get_args(annotation)
        rest = [member for member in members if member is not type(None)]
        if len(rest) < len(members):
            joined = rest[0] if len(rest) == 1 else typing.Union[tuple(rest)]  # noqa: UP007
            return joined, True
    return annotation, False


def field_types(config_class: type) -> dict[str, Any]:
    """Return the resolved annotation of each field of a configuration dataclass."""
    hints = typing.get_type_hints(config_class)
    return {field.name: hints[field.name] for field in dataclasses.fields(config_class)}


def key_of(field: str) -> str:
    """Return the key of a field: its name, less the underscore behind a word that Python keeps."""
    return field.removesuffix("_")


def field_docs(config_class: type) -> dict[str, str]:
    """Return the string literal under each field, those of base classes included."""
    docs: dict[str, str] = {}
    for owner in reversed(config_class.__mro__):
        if not dataclasses.is_dataclass(owner):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
        except (OSError, TypeError, SyntaxError):  # e.g. a class made at run time
            continue
        body = typing.cast(ast.ClassDef, tree.body[0]).body
        for statement, after in itertools.pairwise(body):
            if not isinstance(statement, ast.AnnAssign) or not isinstance(after, ast.Expr):
                continue
            value = after.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                name = typing.cast(ast.Name, statement.target).id
                docs[name] = " ".join(value.value.split())
    return docs


def describe_keys(config_class: type, prefix: str = "") -> list[Key]:
    """List the keys of a configuration class, nested ones by dotted names, own keys first."""
    docs = field_docs(config_class)
    hints = field_types(config_class)
    filled = config_class.fill_in({}) if issubclass(config_class, StepConfig) else {}
    keys: list[Key] = []
    for field in dataclasses.fields(config_class):
        annotation, _ = strip_none(hints[field.name])
        if dataclasses.is_dataclass(annotation):
            nested = describe_keys(typing.cast(type, annotation), f"{prefix}{key_of(field.name)}.")
            keys += [key for key in nested if not key.shared]  # they follow the outer step's
            continue
        keys.append(
            Key(
                name=prefix + key_of(field.name),
                type=type_name(hints[field.name]),
                default=value_text(filled[field.name])
                if field.name in filled
                else _default_text(field),
                doc=docs.get(field.name, ""),
                shared=field.name in SHARED_KEYS,
            )
        )
    return sorted(keys, key=lambda key: key.shared)


def type_name(annotation: Any) -> str:
    """Return an annotation in words: ``int``, ``text``, ``list of text``, ``a | b``."""
    annotation, optional = strip_none(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        name = " | ".join(str(option) for option in arguments)
    elif origin in (typing.Union, types.UnionType):
        name = " or ".join(type_name(member) for member in arguments)
    elif origin in (list, tuple) and arguments:
        name = f"list of {type_name(arguments[0])}"
    elif annotation is dict or (isinstance(origin, type) and issubclass(origin, Mapping)):
        name = "keys"
    else:
        words = {str: "text", bool: "true/false", int: "int", float: "number", list: "list"}
        name = words.get(annotation, getattr(annotation, "__name__", str(annotation)))
    return f"{name} or none" if optional else name


def _default_text(field: "dataclasses.Field[Any]") -> str:
    if field.default_factory is not dataclasses.MISSING:
        return value_text(field.default_factory())
    if field.default is not dataclasses.MISSING:
        return value_text(field.default)
    return "required"


def value_text(value: Any) -> str:
    """Return a value as one would write it on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(value_text(item) for item in value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key}: {value_text(item)}" for key, item in value.items())
        return "{" + inner + "}"
    return str(value)


def at_least(value: int, least: int, key: str) -> None:
    """Raise ValueError unless the value of a key is that much."""
    if value < least:
        raise ValueError(f"{key} must be at least {least}, got {value}")


def fraction(value: float, key: str) -> None:
    """Raise ValueError unless the value of a key lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{key} must be from 0 to 1, got {value:g}")
