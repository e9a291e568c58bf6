"""What ``k3dn STEP --help`` and ``--dry-run`` print: a step's keys as a table."""

import sys
from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand

from pipelines.config import StepConfig, as_dict, describe_keys, value_text
from pipelines.steps import STEPS

_LOG_WIDTH = 100


class StepCommand(TyperCommand):
    """A typer command whose help ends with the keys of its step."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print typer's help, then the keys."""
        super().format_help(ctx, formatter)
        print_keys(str(self.name))


def switches_of(config_class: type[StepConfig]) -> frozenset[str]:
    """Return the keys of a step that are true or false."""
    return frozenset(key.name for key in describe_keys(config_class) if key.type == "true/false")


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _LOG_WIDTH)


def _table(*headings: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def print_keys(step: str) -> None:
    """Print the keys of a step: name, type, default and what each one means."""
    from rich.text import Text

    keys = describe_keys(STEPS[step].config_class())
    table = _table("Key", "Type", "Default", "")
    table.columns[0].no_wrap = True
    for position, key in enumerate(keys):
        last_own = not key.shared and position + 1 < len(keys) and keys[position + 1].shared
        default = Text(key.default, style="yellow" if key.default == "required" else "")
        table.add_row(
            Text(key.name, style="cyan"), key.type, default, Text(key.doc), end_section=last_own
        )
    console = _console()
    console.print(Text("Keys, as key=value or --key value:", style="bold"))
    console.print(table)


def print_configuration(step: str, config: StepConfig, origins: Mapping[str, str]) -> None:
    """Print every value of a resolved configuration and where it came from."""
    from rich.text import Text

    table = _table("Key", "Value", "From")
    for name, value in _flatten(as_dict(config)).items():
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
