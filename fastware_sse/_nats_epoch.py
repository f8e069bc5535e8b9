"""The epoch of a stream in JetStream: when it was made, and a mark in its description once it has lost its end."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta

from nats.js import JetStreamContext
from nats.js.api import StreamInfo

from .backplane import BackplaneRefused, decoded, encoded

UNIX = datetime(1970, 1, 1, tzinfo=UTC)

_DIGITS = 13
_MARK = re.compile(r" ?\[fastware-sse ([a-z2-7]{13})\]")


def epoch_of(info: StreamInfo) -> str:
    """The microsecond in which the stream was made, mixed with its mark."""
    if info.created is None:
        raise BackplaneRefused("the server does not say when the stream was made")
    made = (info.created - UNIX) // timedelta(microseconds=1)
    mark = _MARK.search(info.config.description or "")
    return encoded(made ^ decoded(mark[1]) if mark else made, _DIGITS)


async def renew(js: JetStreamContext, stream: str, epoch: str) -> str:
    """Put another mark there, unless somebody has done so; returns the epoch. Two who do it in the same moment leave
    the mark of one; the other notices as it follows the stream. A description holds a mark in every server."""
    info = await js.stream_info(stream)
    if epoch_of(info) == epoch:
        mark = encoded(secrets.randbits(64), _DIGITS)
        text = _MARK.sub("", info.config.description or "")
        info = await js.update_stream(info.config, description=f"{text} [fastware-sse {mark}]".lstrip())
    return epoch_of(info)
