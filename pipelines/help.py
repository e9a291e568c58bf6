"""What ``k3dn STEP --help`` and ``--dry-run`` print: a step's keys as a table."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from typer.core import TyperCommand

from pipelines.config import (
    Key,
    StepConfig,
    as_recorded,
    describe_keys,
    field_docs,
    field_types,
    key_of,
    strip_none,
    value_text,
)
from pipelines.errors import UserError
from pipelines.examples import EXAMPLES, GROUPS
from pipelines.steps import STEPS

_LOG_WIDTH = 100
_NAME_WIDTH = 42


class StepCommand(TyperCommand):
    """A typer command whose help begins with examples and ends with the keys of its step."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what typer knows; -oNAME is -o NAME.

        Raises UserError for other words behind one dash, of which typer would take letter by
        letter what it knows: -show has -h in it.
        """
        found: list[str] = []
        for argument in args:
            short = len(argument) > 2 and argument[0] == "-" and argument[1].isalpha()
            if short and argument[1] == "o":
                found += ["-o", argument[2:].removeprefix("=")]
            elif short and argument[1] != "c" and set(argument[1:]) - {"v"}:
                raise UserError(
                    f"cannot read '{argument}': keys take two dashes, -{argument}, and a file of "
                    f"that name is ./{argument}"
                )
            else:
                found.append(argument)
        return super().parse_args(ctx, found)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the examples, typer's help, then the keys."""
        print_examples(str(self.name))
        super().format_help(ctx, formatter)
        print_keys(str(self.name))


def switches_of(config_class: type[StepConfig]) -> frozenset[str]:
    """Return the keys of a step that are true or false."""
    return frozenset(key.name for key in describe_keys(config_class) if key.type == "true/false")


def _console() -> Any:
    from rich.console import Console

    # As wide as the terminal; without one, as COLUMNS says.
    width = None if sys.stdout.isatty() else shutil.get_terminal_size((_LOG_WIDTH, 24)).columns
    return Console(highlight=False, width=width)


def _table(*headings: str) -> Any:
    from rich import box
    from rich.table import Table

    shape = box.SIMPLE_HEAD if headings[0] else None
    table = Table(box=shape, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(headings[0]))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def print_examples(step: str) -> None:
    """Print the examples of a step, a line each and what it does."""
    from rich.text import Text

    console = _console()
    console.print(Text("Examples:", style="bold"))
    for line, why in EXAMPLES.get(step, ()):
        console.print(Text.assemble((f"  {line}", "cyan"), f"\n      {why}"), soft_wrap=True)


def print_keys(step: str) -> None:
    """Print the keys of a step under their headings: name, default, what it means, its type."""
    from rich.padding import Padding
    from rich.text import Text

    config_class = STEPS[step].config_class()
    console = _console()
    console.print(Text("Keys, as key=value or --key value:", style="bold"))
    for heading, keys in _grouped(step, config_class):
        console.print()
        console.print(Text(heading, style="bold"))
        table = _table("", "")
        table.columns[0].max_width = _NAME_WIDTH
        for key in keys:
            style = "yellow" if key.default == "required" else ""
            shown = Text.assemble((key.name, "cyan"), "=", (key.default, style))
            table.add_row(shown, Text(f"{key.doc} ({key.type})"))
        console.print(Padding(table, (0, 0, 0, 2)))
    for name, other in _steps_inside(config_class).items():
        console.print()
        console.print(f"{name}.KEY=VALUE: every key of '{other}'; k3dn {other} --help lists them")


def _grouped(step: str, config_class: type[StepConfig]) -> Iterator[tuple[str, list[Key]]]:
    """The keys under their headings; those of a group inside stand under what the group is."""
    inside = tuple(f"{name}." for name in _steps_inside(config_class))
    keys = [key for key in describe_keys(config_class) if not key.name.startswith(inside)]
    known = {key.name: key for key in keys}
    for heading, names in GROUPS.get(step, {}).items():
        yield heading, [known.pop(name) for name in names if name in known]
    docs = field_docs(config_class)
    headings: dict[str, list[Key]] = {}
    for key in known.values():
        group = key.name.partition(".")[0]
        heading = docs.get(group, group).rstrip(".") if "." in key.name else "Keys"
        headings.setdefault("Place" if key.shared else heading, []).append(key)
    if "Keys" in headings and step in GROUPS:
        headings["Other"] = headings.pop("Keys")
    yield from headings.items()


def _steps_inside(config_class: type[StepConfig]) -> dict[str, str]:
    """The fields that hold another step's configuration, and the names of those steps."""
    found = {}
    for name, annotation in field_types(config_class).items():
        inner, _ = strip_none(annotation)
        for step in STEPS.values():
            if inner is step.config_class():
                found[name] = step.name
    return found


def print_configuration(step: str, config: StepConfig, origins: Mapping[str, str]) -> None:
    """Print every value of a resolved configuration and where it came from."""
    from rich.text import Text

    table = _table("Key", "Value", "From")
    fields = field_types(type(config))
    for field, value in _flatten(as_recorded(config)).items():
        name = key_of(field) if field in fields else field
        origin = origins.get(name, "default")
        style = "" if origin == "default" else "bold"
        table.add_row(Text(name, style="cyan"), Text(value_text(value), style=style), Text(origin))
    console = _console()
    console.print(Text(f"Configuration of '{step}':", style="bold"))
    console.print(table)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
