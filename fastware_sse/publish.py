"""`fastware-sse publish`: one event into a stream of Redis or NATS, for whoever listens on any node."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ._engine_of import engine_of
from .backplane import BackplaneError

_DESCRIPTION = """\
Add one event to a stream, which is made if it is not there. Every process that has a Broadcaster on it sends it to its
clients. Exit code: 0 it is there; 1 the server is away or refuses; 2 wrong usage."""


def add_command(commands: Any) -> None:
    """Add the subcommand to what argparse's add_subparsers() returned."""
    parser = commands.add_parser("publish", help="one event into a stream of Redis or NATS", description=_DESCRIPTION)
    parser.add_argument("url", metavar="URL", help="of the server: redis://... or nats://...")
    parser.add_argument("key", metavar="KEY", help="the stream's name")
    parser.add_argument("event", metavar="EVENT", help="the event's name")
    parser.add_argument("data", metavar="DATA", help="sent as it is")
    parser.add_argument("--maxlen", type=int, default=10_000, help="of the stream, as the app has it (%(default)s)")
    parser.set_defaults(run=lambda options: run(parser, options))


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Do it, return the exit code."""
    try:
        engine_of(options.url).publish(options.url, options.key, options.event, options.data, maxlen=options.maxlen)
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    except BackplaneError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
