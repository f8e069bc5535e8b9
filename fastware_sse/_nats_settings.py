"""What a stream of JetStream is like, which somebody else may have made, and may edit while it is read."""

from __future__ import annotations

from typing import NamedTuple

from nats.js.api import RetentionPolicy, StreamInfo

from ._nats_epoch import epoch_of
from .backplane import BackplaneRefused


class Settings(NamedTuple):
    """What publishing depends on, as the stream has it."""

    stream: str
    epoch: str
    subject: str
    window: float
    """Seconds for which the server knows which messages it has."""
    largest: int | None
    """Bytes of a message."""
    most: int | None
    """Messages."""


def settings_of(info: StreamInfo) -> Settings:
    """Raises BackplaneRefused unless it confirms messages, and loses them at its front alone: what is lost in its
    middle nobody sees."""
    config, name = info.config, info.config.name or ""
    if config.no_ack:
        raise BackplaneRefused(f"the stream {name!r} confirms nothing (no_ack)")
    if config.retention not in (None, RetentionPolicy.LIMITS):
        raise BackplaneRefused(f"the stream {name!r} has the retention {config.retention}, not limits")
    subjects = [subject for subject in config.subjects or [] if not set("*>") & set(subject)]
    if not subjects:
        raise BackplaneRefused(f"the stream {name!r} has no subject without a wildcard")
    is_mixed = config.subjects != subjects[:1] or bool(config.sources)
    if is_mixed and ((config.max_msgs_per_subject or 0) > 0 or config.allow_rollup_hdrs):
        raise BackplaneRefused(f"the stream {name!r} has several subjects, and a limit or rollup for each")
    if config.allow_msg_ttl:
        raise BackplaneRefused(f"the stream {name!r} allows messages that expire each by itself")
    subject = name if name in subjects else subjects[0]
    largest, most = _limit(config.max_msg_size), _limit(config.max_msgs)
    return Settings(name, epoch_of(info), subject, config.duplicate_window or 0, largest, most)


def _limit(number: int | None) -> int | None:
    """The server says -1 where there is none."""
    return number if number is not None and number > 0 else None
