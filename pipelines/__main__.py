"""``k3dn`` and ``python -m pipelines``."""

import os
import sys


def main() -> None:
    """Entry point: run the command line and end the process with its exit code."""
    _open_what_is_closed()
    try:
        from pipelines.cli import run_command_line

        code = run_command_line(sys.argv[1:])
    except KeyboardInterrupt:  # before there was anything to stop
        code = 130
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Give a process that was started without stdin, stdout or stderr (``2>&-``) an empty one.

    Else what is printed for humans goes to stdout, and the next file that is opened takes the
    number that libraries write their messages to.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
            setattr(sys, name, os.fdopen(number, mode))


if __name__ == "__main__":
    main()
