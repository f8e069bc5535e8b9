"""`fastware-sse tail`: a stream of Redis or NATS as it goes, an entry a line."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from contextlib import suppress
from typing import Any

from ._engine_of import engine_of
from ._lookup import Loop
from .backplane import Backplane, BackplaneError

_DESCRIPTION = """\
Show the events of a stream as they come, each as a line of JSON with its position, until it is interrupted. Exit code:
0 interrupted; 1 the server is away or refuses, there is no such stream, it does not reach back, or nobody reads what is
shown; 2 wrong usage."""


def add_command(commands: Any) -> None:
    """Add the subcommand to what argparse's add_subparsers() returned."""
    parser = commands.add_parser("tail", help="a stream of Redis or NATS as it goes", description=_DESCRIPTION)
    parser.add_argument("url", metavar="URL", help="of the server: redis://... or nats://...")
    parser.add_argument("key", metavar="KEY", help="the stream's name")
    parser.add_argument(
        "--from",
        dest="position",
        metavar="POSITION",
        help="begin behind it (start: with all that is there), not with what comes next",
    )
    parser.set_defaults(run=lambda options: run(parser, options))


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Do it, return the exit code."""
    try:
        stream = engine_of(options.url).stream(options.url, options.key, maxlen=1)  # it makes none: any will do
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    if options.position == "start":
        options.position = "a" * stream.digits
    if options.position is not None and not re.fullmatch(f"[a-z2-7]{{{stream.digits}}}", options.position):
        parser.error(f"a position there has {stream.digits} characters, a to z and 2 to 7; or start")
    with suppress(KeyboardInterrupt):
        try:
            with asyncio.Runner(loop_factory=Loop) as runner:
                runner.run(_show(stream, options.position))
        except BackplaneError as error:
            print(error, file=sys.stderr)
            return 1
        except BrokenPipeError:  # as in `tail | head`; what is left in stdout must not fail again as Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
    return 0


async def _show(stream: Backplane, position: str | None) -> None:
    try:
        await stream.open()
        last = await stream.last()  # an error where there is no stream: epoch() would make one
        async for entries in stream.tail(await stream.epoch(), position or last):
            for entry in entries:
                shown = {"position": entry.position, "event": entry.event, "data": entry.data.decode(errors="replace")}
                print(json.dumps(shown, ensure_ascii=False), flush=True)
    finally:
        await stream.close()
