"""Read a step's configuration: defaults, a preset, then a YAML file, then the command line.

Both sources are read as text against the type of the field, so that ``lr: 1e-4`` is a number
and ``version: 1.10`` under a text key stays what was written. A key that the step does not
know is refused with the nearest one that it knows and the place where it stands.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import yaml

from pipelines.config import (
    SHARED_KEYS,
    StepConfig,
    field_docs,
    field_types,
    key_of,
    strip_none,
)
from pipelines.errors import UserError
from pipelines.ray_job import is_ray_job
from pipelines.yaml_source import Node, parse_text, read_yaml

C = TypeVar("C", bound=StepConfig)

COMMAND_LINE = "the command line"
_NONE_WORDS = ("none", "null", "~", "")


@dataclass(frozen=True, slots=True)
class Loaded(Generic[C]):
    """A configuration and where its values came from."""

    config: C
    """The validated configuration."""
    origins: Mapping[str, str]
    """Dotted key -> file:line or 'the command line'; a key that is not here has its default."""


@dataclass(slots=True)
class _Draft:
    """Values as they come in, before validation."""

    step: str
    values: dict[str, Any]
    origins: dict[str, str]


def load_config(
    config_class: type[C],
    step: str,
    *,
    file: Path | None = None,
    overrides: Sequence[tuple[str, str]] = (),
    sections: Sequence[str] = (),
) -> Loaded[C]:
    """Return the configuration of ``step`` from defaults, ``file`` and ``overrides``.

    file: YAML with a section per step; ``root``, ``tracking_uri`` and ``ray_address`` may stand
    at its top and then hold for every step.
    overrides: (key, text) in the order given, the last one wins; ``step.key`` is ``key``.
    sections: the names that a section may have; others are refused.
    A local ``root`` comes back absolute. Raises UserError, one line.
    """
    draft = _Draft(step, {}, {})
    if file is not None:
        _take_file(draft, config_class, file, sections)
    for key, text in overrides:
        path = key.replace("-", "_").split(".")
        if len(path) > 1 and path[0] == step and step not in field_types(config_class):
            path = path[1:]
        _assign(draft, config_class, draft.values, path, (), text, COMMAND_LINE)
    _hand_down_shared(config_class, draft.values)
    _fill_in(draft, config_class, draft.values, ())
    config = _validate(config_class, draft)
    return Loaded(_with_absolute_root(config, draft.origins), draft.origins)


def _take_file(draft: _Draft, config_class: type, file: Path, sections: Sequence[str]) -> None:
    document = read_yaml(file)
    for key, (line, node) in document.items():
        if key not in SHARED_KEYS and key not in sections and key != draft.step:
            raise UserError(_unknown(key, [*sections, *SHARED_KEYS], f"{file}:{line}", "section"))
        if key in SHARED_KEYS:
            _assign(draft, config_class, draft.values, [key], (), node, f"{file}:{line}")
    # A step that holds another step's configuration (tune holds train) starts from its section.
    for name, annotation in field_types(config_class).items():
        inner, _ = strip_none(annotation)
        if name in document and dataclasses.is_dataclass(inner) and name != draft.step:
            line, node = document[name]
            _assign(draft, config_class, draft.values, [name], (), node, f"{file}:{line}")
    if draft.step in document:
        line, node = document[draft.step]
        _assign_section(draft, config_class, draft.values, (), node, f"{file}:{line}")


def _assign_section(
    draft: _Draft, owner: type, values: dict[str, Any], above: tuple[str, ...], node: Node, at: str
) -> None:
    if isinstance(node, yaml.ScalarNode) and node.value.lower() in _NONE_WORDS:
        return
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{'.'.join(above) or draft.step} at {at} must hold keys and their values")
    file = at.rpartition(":")[0]
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        path = str(key_node.value).replace("-", "_").split(".")
        _assign(draft, owner, values, path, above, value_node, f"{file}:{line}")


def _assign(
    draft: _Draft,
    owner: type,
    values: dict[str, Any],
    path: list[str],
    above: tuple[str, ...],
    leaf: Node | str,
    at: str,
) -> None:
    """Put ``leaf`` at ``path`` below ``values``, which holds the fields of ``owner``."""
    hints = field_types(owner)
    fields = {key_of(name): name for name in hints}
    if path[0] not in fields:
        extra = getattr(owner, "EXTRA_KEYS", None)  # e.g. summary: other keys are the network's
        if extra is None:
            key = ".".join([*above, path[0]])
            known = [".".join([*above, name]) for name in fields]
            raise UserError(_unknown(key, known, at, "key"))
        path = [extra, *path]
    head, rest = fields[path[0]], path[1:]
    key = ".".join([*above, *path])
    annotation, _ = strip_none(hints[head])
    if dataclasses.is_dataclass(annotation):
        section = values.setdefault(head, {})
        inner = typing.cast(type, annotation)
        if rest:
            _assign(draft, inner, section, rest, (*above, head), leaf, at)
        elif isinstance(leaf, str):
            raise UserError(
                f"'{key}' ({at}) is a group of keys: set one of them, "
                f"as in {key}.{next(iter(field_types(inner)))}=..."
            )
        else:
            _assign_section(draft, inner, section, (*above, head), leaf, at)
        return
    if _is_mapping(annotation):
        whole = parse_text(leaf)
        if rest:
            node = values.setdefault(head, {})
            for part in rest[:-1]:
                node = node.setdefault(part, {})
            node[rest[-1]] = whole
        elif isinstance(whole, dict):
            values.setdefault(head, {}).update(whole)
        else:
            raise UserError(f"'{key}' ({at}) holds keys: write {key}.NAME=VALUE")
    elif rest:
        raise UserError(f"'{key}' ({at}): '{'.'.join([*above, head])}' has no keys below it")
    else:
        values[head] = _read(hints[head], leaf)
    draft.origins[key] = at


def _is_mapping(annotation: Any) -> bool:
    origin = typing.get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _read(annotation: Any, leaf: Node | str) -> Any:
    """Read text or a YAML node as what the annotation asks for; pydantic checks it afterwards."""
    inner, optional = strip_none(annotation)
    origin, arguments = typing.get_origin(inner), typing.get_args(inner)
    is_list = origin in (list, tuple, Sequence) or inner in (list, tuple)
    if isinstance(leaf, yaml.MappingNode):
        return parse_text(leaf)
    if isinstance(leaf, yaml.SequenceNode):
        element = arguments[0] if arguments else Any
        return [_read(element, node) for node in leaf.value]
    text = leaf if isinstance(leaf, str) else str(leaf.value)
    quoted = not isinstance(leaf, str) and leaf.style in ("'", '"')
    if optional and not quoted and text.lower() in _NONE_WORDS:
        return None
    if is_list:
        if text.startswith("["):
            return parse_text(text)
        return [part.strip() for part in text.split(",") if part.strip()]
    if origin is Literal:
        return next((option for option in arguments if str(option) == text), text)
    if inner is Any or (origin in (typing.Union, types.UnionType) and str not in arguments):
        return parse_text(leaf)
    return text


def _unknown(key: str, known: Sequence[str], at: str, kind: str) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"
    return f"unknown {kind} '{key}' ({at}); {hint}"


def _hand_down_shared(owner: type, values: dict[str, Any]) -> None:
    """Give a step inside a step the same root, store and cluster, unless it names its own."""
    shared = {key: values[key] for key in SHARED_KEYS if key in values}
    for name, annotation in field_types(owner).items():
        inner, _ = strip_none(annotation)
        is_step = isinstance(inner, type) and issubclass(inner, StepConfig)
        if is_step and (name in values or (shared and not _may_be_absent(owner, name))):
            values[name] = shared | values.get(name, {})
            _hand_down_shared(inner, values[name])


def _fill_in(
    draft: _Draft, owner: type[StepConfig], values: dict[str, Any], above: tuple[str, ...]
) -> None:
    """Add what presets say of keys that were not given, here and in the steps inside."""
    for key, value in owner.fill_in(values).items():
        if key in values:
            continue
        values[key] = value
        if key != "preset":  # the one that is taken where none is named comes first
            draft.origins[".".join([*above, key])] = f"preset {values['preset']}"
    for name, annotation in field_types(owner).items():
        inner, _ = strip_none(annotation)
        if name in values and isinstance(inner, type) and issubclass(inner, StepConfig):
            _fill_in(draft, inner, values[name], (*above, name))


def _may_be_absent(owner: type, name: str) -> bool:
    field = next(field for field in dataclasses.fields(owner) if field.name == name)
    return field.default is None


def _validate(config_class: type[C], draft: _Draft) -> C:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(config_class).validate_python(draft.values)
    except ValidationError as error:
        problems = [_problem(config_class, draft, item) for item in error.errors()]
        raise UserError("; ".join(dict.fromkeys(problems))) from None


def _problem(config_class: type, draft: _Draft, item: Any) -> str:
    """One line for one pydantic error."""
    names = [str(part) for part in item["loc"]]
    key = ".".join(key_of(name) for name in names if name.isidentifier())
    at = next((where for known, where in draft.origins.items() if key and known == key), None)
    place = f" ({at})" if at else ""
    if item["type"] == "missing":
        doc = field_docs(config_class).get(key, "")
        return f"'{draft.step}' needs {key}=...{f' ({doc})' if doc else ''}"
    if item["type"] == "value_error":
        return f"{item['ctx']['error']}{place}"
    message = item["msg"][0].lower() + item["msg"][1:]
    if "unable to" in message:  # "input should be a valid integer, unable to parse string as ..."
        message = message.split(", unable to")[0]
    return f"{key}{place}: {message}, not {item['input']!r}"


def _with_absolute_root(config: C, origins: Mapping[str, str]) -> C:
    """Make a local root absolute, here and in the steps inside; refuse one that would be lost."""
    if "://" in config.root:
        return config
    if is_ray_job() and not Path(config.root).expanduser().is_absolute():
        raise UserError(
            f"root '{config.root}' ({origins.get('root', 'the default')}) is relative, and a Ray "
            "job runs in a folder that is deleted; give an absolute path or a URL: root=/data/k3dn"
        )
    root = str(Path(config.root).expanduser().absolute())
    inside: dict[str, Any] = {
        field.name: _with_absolute_root(value, origins)
        for field in dataclasses.fields(config)
        if isinstance(value := getattr(config, field.name), StepConfig)
    }
    return dataclasses.replace(config, root=root, **inside)
