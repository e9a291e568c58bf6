"""``k3dn`` and ``python -m pipelines``."""

import sys

from pipelines.cli import run_command_line


def main() -> None:
    """Entry point: run the command line and end the process with its exit code."""
    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
