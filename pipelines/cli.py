"""The command line: ``k3dn STEP [--config FILE] [key=value ...]``.

Nothing here imports a step before it is asked for: ``k3dn --help`` needs neither torch nor Ray.
The flags are few and fixed; everything else is a key of the step's configuration.
"""

import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.config import StepConfig, as_recorded
from pipelines.errors import UserError
from pipelines.failures import (
    EXIT_FAILURE,
    EXIT_USER,
    Failure,
    Terminated,
    explain_failure,
    write_traceback,
)
from pipelines.help import StepCommand, switches_of
from pipelines.next_steps import with_place
from pipelines.progress import say
from pipelines.steps import STEPS, Step

# click's own base class of usage errors; typer may bring a click of its own.
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]

_CHATTY = (
    "alembic",
    "botocore",
    "ray._private",
    "ray.data",
    "ray.train",
    "ray.tune",
    "urllib3",
)

EPILOG = (
    "Keys of a step: k3dn STEP --help. Give them as key=value or --key value, or in a YAML file "
    "with a section per step (--config, or the environment variable K3DN_CONFIG). "
    "Start with: k3dn demo"
)

app = typer.Typer(
    name="k3dn",
    help="Dual-pixel defocus deblurring: data, training, evaluation and registry, "
    "on a laptop or a Ray cluster.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"k3dn {version('k3dn')}")
        except PackageNotFoundError:
            print("k3dn, not installed: run from its source")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def _make_command(step: Step) -> Callable[..., None]:
    def command(
        context: typer.Context,
        config: Annotated[
            Path | None,
            typer.Option(
                "--config",
                "-c",
                envvar="K3DN_CONFIG",
                show_envvar=True,
                metavar="FILE",
                help="YAML with a section per step.",
            ),
        ] = None,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print the result as JSON on stdout.")
        ] = False,
        dry_run: Annotated[
            bool,
            typer.Option("--dry-run", help="Print the configuration and the plan; do nothing."),
        ] = False,
        verbose: Annotated[
            bool, typer.Option("--verbose", "-v", help="Show tracebacks and libraries' messages.")
        ] = False,
    ) -> None:
        overrides = parse_overrides(context.args, step.words, switches_of(step.config_class()))
        code = run_step(step, config, overrides, as_json=as_json, dry_run=dry_run, verbose=verbose)
        raise typer.Exit(code)

    return command


for _step in STEPS.values():
    app.command(
        _step.name,
        cls=StepCommand,
        help=_step.help,
        options_metavar=" ".join(
            ["[OPTIONS]", *(f"[{word.upper()}]" for word in _step.words), "[KEY=VALUE]..."]
        ),
        rich_help_panel=_step.group,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_make_command(_step))


def parse_overrides(
    arguments: Sequence[str], words: Sequence[str] = (), switches: Collection[str] = ()
) -> list[tuple[str, str]]:
    """Read ``key=value``, ``--key=value`` and ``--key value`` (``--key`` alone is true).

    words: keys that arguments without a key mean, in this order, those that are given left out;
    ``-o`` means ``output``. switches: keys that are true or false, to which a bare word that is
    neither does not belong. Raises UserError for anything else.
    """
    found: list[tuple[str, str]] = []
    bare: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if argument == "-o":
            if not waiting:
                raise UserError("-o needs the output's name behind it: -o NAME")
            found.append(("output", waiting.pop(0)))
            continue
        if words and argument.startswith("-") and os.path.isfile(argument):  # noqa: PTH113 (never raises)
            raise UserError(f"a file whose name begins with a dash is given as ./{argument}")
        key, equals, value = argument.removeprefix("--").partition("=")
        is_flag = argument.startswith("--")
        is_key = key.replace("-", "_").replace(".", "_").isidentifier()
        is_file = bool(words and equals and not is_flag and os.path.isfile(argument))  # noqa: PTH113 (never raises)
        if is_file or (words and not argument.startswith(("-", "=")) and not (is_key and equals)):
            bare.append(argument)
        elif not is_key:
            raise UserError(f"cannot read '{argument}': write keys as key=value or --key value")
        elif equals:
            found.append((key, value))
        elif (
            is_flag
            and waiting
            and not waiting[0].startswith("--")
            and not (key in switches and waiting[0].lower() not in ("true", "false"))
        ):
            found.append((key, waiting.pop(0)))
        elif is_flag:
            found.append((key, "true"))
        else:
            raise UserError(f"'{argument}' is not key=value; did you mean {argument}=... ?")
    given = {key.replace("-", "_") for key, _ in found}
    free = [word for word in words if word not in given]
    if len(bare) > len(free):
        extra = bare[len(free)]
        if words and len(bare) > len(words) and Path(extra).suffix:
            raise UserError(
                f"'{extra}' is one word too many after {' and '.join(words)}; an output goes "
                "after -o, and a pattern with * needs quotes, or the shell puts all its files here"
            )
        raise UserError(f"'{extra}' is not key=value; did you mean {extra}=... ?")
    return [*zip(free, bare, strict=False), *found]


def run_step(
    step: Step,
    file: Path | None,
    overrides: Sequence[tuple[str, str]],
    *,
    as_json: bool,
    dry_run: bool,
    verbose: bool,
) -> int:
    """Load the configuration, run the step, print its result; return the exit code."""
    _quieten_libraries(verbose)
    with _sigterm_unwinds():
        try:
            from pipelines.config_loader import load_config

            loaded = load_config(
                step.config_class(), step.name, file=file, overrides=overrides, sections=[*STEPS]
            )
            if dry_run:
                _print_dry_run(step, loaded.config, dict(loaded.origins), as_json)
                return 0
            for line in step.plan(loaded.config):
                say(f"{step.name}: {line}")
            # Libraries print to stdout as they please; it is kept for the result.
            with contextlib.redirect_stdout(sys.stderr):
                result = step.run_function()(loaded.config)
            with _readers_may_go():
                _print_result(result, loaded.config, as_json)
            return int(getattr(result, "exit_code", 0))  # doctor has one
        except (Exception, KeyboardInterrupt, Terminated) as error:
            return _report(step.name, error, verbose)


@contextlib.contextmanager
def _readers_may_go() -> Any:
    """Print a result to who may have read enough (``| head``): the work is done all the same."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())  # what waits to be written would fail at the end
        os.close(nothing)


def _print_result(result: Any, config: StepConfig, as_json: bool) -> None:
    if as_json:
        print(json.dumps(dataclasses.asdict(result), default=str))
        return
    print(result.describe())
    following = result.next_steps()
    if following:
        print("\nNext:")
        for line in following:
            print(f"  {with_place(line, config)}")


def _print_dry_run(step: Step, config: StepConfig, origins: dict[str, str], as_json: bool) -> None:

    plan = [*step.plan(config), *step.look(config)]
    if as_json:
        print(json.dumps({"config": as_recorded(config), "origins": origins, "plan": plan}))
        return
    from pipelines.help import print_configuration

    print_configuration(step.name, config, origins)
    print("It would:")
    for line in plan:
        print(f"  {line}")


def _report(step: str, error: BaseException, verbose: bool) -> int:
    """Print one line for an exception (the traceback too with -v) and return the exit code."""
    failure: Failure = explain_failure(error)
    if verbose:
        import traceback

        traceback.print_exception(error)
    message = failure.message
    if failure.exit_code == EXIT_FAILURE and not verbose:
        path = write_traceback(error)
        message += f" (traceback: {path})" if path else " (run with -v for the traceback)"
    say(f"k3dn {step}: {message}")
    return failure.exit_code


@contextlib.contextmanager
def _sigterm_unwinds() -> Any:
    """Let SIGTERM end the step as Ctrl-C does: whatever is open is closed on the way out."""

    def raise_terminated(_signal: int, _frame: object) -> None:
        raise Terminated

    try:
        previous = signal.signal(signal.SIGTERM, raise_terminated)
    except ValueError:  # not the main thread: called from a program, which handles it
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _quieten_libraries(verbose: bool) -> None:
    import logging
    import warnings

    from pipelines.environment import prepare_environment

    prepare_environment()
    if verbose:
        return
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)


def run_command_line(arguments: Sequence[str]) -> int:
    """Run ``k3dn`` with these arguments; return the exit code. Errors are one line on stderr."""
    try:
        code = app(args=list(arguments), prog_name="k3dn", standalone_mode=False)
    except _ClickException as error:
        text = error.format_message() if hasattr(error, "format_message") else str(error)
        if not text.strip():  # help was asked for by giving nothing, and is printed
            return EXIT_USER
        say(f"k3dn: {' '.join(text.split())} (k3dn --help lists what there is)")
        return EXIT_USER
    except UserError as error:
        say(f"k3dn: {error}")
        return EXIT_USER
    except (KeyboardInterrupt, typer.Abort):
        return explain_failure(KeyboardInterrupt()).exit_code
    except BrokenPipeError:  # e.g. k3dn datasets | head
        return EXIT_FAILURE
    return code if isinstance(code, int) else 0
