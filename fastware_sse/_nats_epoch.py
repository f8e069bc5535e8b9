"""The epoch of a stream in JetStream: when it was made, and a mark in its description once it has lost its end."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from nats.js import JetStreamContext
from nats.js.api import StreamInfo

from .backplane import EPOCH_DIGITS, BackplaneRefused, decoded, encoded, new_epoch

UNIX = datetime(1970, 1, 1, tzinfo=UTC)

_MARK = re.compile(rf" ?\[fastware-sse ([a-z2-7]{{{EPOCH_DIGITS}}})\]")


def epoch_of(info: StreamInfo) -> str:
    """The microsecond in which the stream was made, mixed with its mark."""
    if info.created is None:
        raise BackplaneRefused("the server does not say when the stream was made")
    made = (info.created - UNIX) // timedelta(microseconds=1)
    mark = _MARK.search(info.config.description or "")
    return encoded(made ^ decoded(mark[1]) if mark else made, EPOCH_DIGITS)


def covers(info: StreamInfo, epoch: str, position: str) -> bool:
    """Sequence numbers have no holes but those of trimming, at the front, and of what was deleted by hand."""
    return epoch_of(info) == epoch and info.state.first_seq - 1 <= decoded(position) <= info.state.last_seq


async def renew(js: JetStreamContext, stream: str, epoch: str) -> str:
    """Put another mark there, unless somebody has done so; returns the epoch. Two who do it in the same moment leave
    the mark of one; the other notices as it follows the stream. A description holds a mark in every server."""
    info = await js.stream_info(stream)
    if epoch_of(info) == epoch:
        text = _MARK.sub("", info.config.description or "")
        info = await js.update_stream(info.config, description=f"{text} [fastware-sse {new_epoch()}]".lstrip())
    return epoch_of(info)
