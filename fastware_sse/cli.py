"""The command `fastware-sse`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import load, publish, tail


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; return its exit code. Wrong usage raises SystemExit(2), as argparse does."""
    parser = argparse.ArgumentParser(prog="fastware-sse", description="Tools for server-sent events.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (load, publish, tail):
        command.add_command(commands)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
