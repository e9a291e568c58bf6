"""YAML as text with places: every value knows the line that it stands on."""

from pathlib import Path
from typing import Any, TypeAlias

import yaml

from pipelines.errors import UserError

Node: TypeAlias = yaml.Node


def read_yaml(file: Path) -> dict[str, tuple[int, Node]]:
    """Return the top-level keys of a YAML file, each with its line and its value's node.

    Raises UserError when the file is absent, is not YAML, holds a key twice or is not a mapping.
    """
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise UserError(f"no configuration file {file}; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the configuration file {file}: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{file}{line} is not valid YAML: {error.problem}") from None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{file} must hold a section per step, such as 'train:'")
    _refuse_duplicates(root, file)
    return {str(key.value): (key.start_mark.line + 1, value) for key, value in root.value}


def _refuse_duplicates(node: Node, file: Path) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, file)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = str(key.value)
        if name in seen:
            raise UserError(f"{file}:{line} sets '{name}' again (first on line {seen[name]})")
        seen[name] = line
        _refuse_duplicates(value, file)


def parse_text(leaf: Node | str) -> Any:
    """Return the plain value of a node, or of text as YAML reads it; ``1e-4`` is a number."""
    if isinstance(leaf, yaml.MappingNode):
        return {str(key.value): parse_text(value) for key, value in leaf.value}
    if isinstance(leaf, yaml.SequenceNode):
        return [parse_text(item) for item in leaf.value]
    if isinstance(leaf, yaml.ScalarNode):
        return leaf.value if leaf.style in ("'", '"') else _scalar(str(leaf.value))
    if isinstance(leaf, str) and leaf[:1] in ("[", "{"):
        try:
            return parse_text(yaml.compose(leaf, Loader=yaml.SafeLoader))
        except yaml.YAMLError:
            raise UserError(f"cannot read {leaf!r}: a bracket or a quote is missing") from None
    return _scalar(str(leaf))


def _scalar(text: str) -> Any:
    words = {"true": True, "false": False, "null": None, "none": None, "~": None, "": None}
    if text.lower() in words:
        return words[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
