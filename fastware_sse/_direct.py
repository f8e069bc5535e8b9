"""Direct fan-out: one stream's way past the server, to the socket of its own connection.

A stream that finds a Handoff in its scope makes an Offer. Its bytes then go their ordinary way, through whatever wraps
send(), and the Offer stands at the end of that way and compares. Once all that the stream has given has come through as
it was, nothing is on the way any more and the client is parked, C writes to the socket, until somebody else wants to.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from . import _seldom
from ._core import Chunk, Handoff, Sender
from ._unsent import Unsent

if TYPE_CHECKING:
    from ._session import Session

KEY = "fastware.sse"  # in the scope's extensions

_ON_THE_WAY = 64  # parts that may be; a stream of which more are has been held up, or rewritten

_log = logging.getLogger("fastware_sse")


def handoff_of(scope: Mapping[str, Any]) -> Handoff | None:
    extensions = scope.get("extensions")
    found = extensions.get(KEY) if isinstance(extensions, Mapping) else None
    return found if isinstance(found, Handoff) else None


def make_offer(handoff: Handoff, session: Session, scope: Mapping[str, Any], patience: float | None) -> Offer | None:
    """None where it is clear from the start that there is no direct way."""
    sender = handoff.sender
    if sys.platform != "linux" or scope.get("method") != "GET":
        return None
    if sender is None or sender.offer is not None:
        return None
    cycle = sender.send.__self__  # type: ignore[attr-defined]
    protocol, transport = sender.protocol, cycle.transport
    # Not scope["scheme"]: what a proxy says of it is there by now.
    is_tls = transport.get_extra_info("sslcontext") is not None or transport.get_extra_info("ssl_object") is not None
    is_free = protocol.sse_owner is None and transport.get_protocol() is protocol
    is_over = cycle.response_complete or cycle.disconnected or transport.is_closing()
    if is_tls or cycle.more_body or is_over or not is_free:
        return None
    return Offer(sender, cycle, session, patience)


class Offer:
    """Between the offer and the final message all that the response sends comes by here."""

    __slots__ = (
        "_cycle",
        "_expected",
        "_is_attached",
        "_is_live",
        "_is_verified",
        "_patience",
        "_protocol",
        "_sender",
        "_sending",
        "_session",
        "_transport",
        "_unsent",
    )

    def __init__(self, sender: Sender, cycle: Any, session: Session, patience: float | None) -> None:
        self._sender: Sender | None = sender  # None once there is no direct way, or none any more
        self._cycle = cycle
        self._session = session
        self._patience = patience
        self._protocol = sender.protocol
        self._transport = cycle.transport
        self._expected: list[bytes] = []  # given by the stream, and not come through yet
        self._is_verified = False  # the first of them has come through as it was, in a response that is a plain stream
        self._sending = 0  # messages that the server has not taken yet
        self._is_live = False  # it has begun to wait for events; what it waits for before that is not for the client
        self._is_attached = False
        self._unsent = Unsent(self._transport, self._protocol.loop, patience)
        sender.offer = self
        self._protocol.sse_owner = self  # from now on it keeps back what the client sends
        self._protocol.flow.resume_reading()  # a pipelined request has stopped it; the end of the connection is behind

    # ---- the stream's side ----

    def expect(self, part: Chunk | bytes) -> None:
        """The stream is about to give this away."""
        if self._sender is None:
            return
        self._expected.append(part.encode() if isinstance(part, str) else part)
        if len(self._expected) > _ON_THE_WAY:
            self._give_up()

    def parked(self) -> None:
        """The stream waits for events."""
        self._is_live = True
        self._settle()

    def take_back(self) -> None:
        """Whoever writes next has the socket for himself. Idempotent."""
        if self._is_attached:
            self._is_attached = False
            try:
                rest = self._session.subscription.detach()
            except BaseException:
                self._abort()  # as below
                raise
            self._write(rest)

    def released(self, why: str, rest: bytes) -> None:
        """C has ended it by itself; see Subscription.attach()."""
        self._is_attached = False
        if why == "ended":
            self._write(rest)
            return
        if why == "stuck":
            self._session.note_stuck()
        self._abort()  # first: the stream may go on in stop(), and nothing of it may follow what was cut
        self._session.stop("send_timeout" if why == "stuck" else "left")

    # ---- the server's side ----

    async def send(self, message: MutableMapping[str, Any]) -> None:
        body: bytes = message.get("body", b"")
        is_body = message["type"] == "http.response.body"
        is_last = is_body and not message.get("more_body", False)
        if self._is_attached and is_body and not body and not is_last:
            return
        self.take_back()
        if body:
            self._compare(body, is_last)
        forward = self._cycle.send
        self._sending += 1
        self._has_unsent()
        try:
            await forward(message)
        finally:
            self._sending -= 1
            if is_last:
                self._give_up()
            else:
                self._settle()

    def lost(self) -> None:
        """The connection is. On httptools the server tells this to the newest request, which may be another one."""
        self._cycle.disconnected = True
        self._cycle.message_event.set()
        self._is_attached = False
        self._session.subscription.detach()  # for nobody
        self._give_up()
        self._session.stop("left")

    def _compare(self, body: bytes, is_last: bool) -> None:
        if self._expected and body == self._expected[0]:
            del self._expected[0]
            if not self._is_verified and (is_last or not self._is_plain()):
                self._give_up()
            self._is_verified = True
        elif not self._is_verified:
            self._give_up()
        # Else it is of somebody who sends into the stream. One who rewrites it leaves parts that never come through.

    def _is_plain(self) -> bool:
        """Whether the response is a stream of events that nothing between here and the client changes."""
        assert self._sender is not None
        message, self._sender.start = self._sender.start, None
        if message is None:  # another stream of the same response has looked at it
            return False
        headers = {bytes(name).lower(): bytes(value).lower() for name, value in message.get("headers", ())}
        return (
            message["status"] == 200
            and headers.get(b"content-type", b"").startswith(b"text/event-stream")
            and headers.get(b"content-encoding", b"identity") == b"identity"
            and not headers.keys() & {b"content-length", b"transfer-encoding", b"trailer"}
        )

    def _settle(self) -> None:
        """Let C write, if nothing is on the way. Looked at again whenever one of the conditions may have changed."""
        if self._sender is None or self._is_attached or self._has_unsent():
            return
        cycle, is_on_the_way = self._cycle, bool(self._expected or self._sending)
        if is_on_the_way or not self._is_live or not self._is_verified:
            return
        if cycle.disconnected or self._transport.is_closing():
            return
        is_chunked = getattr(cycle, "chunked_encoding", None)  # httptools'; it answers HTTP/1.0 in chunks too
        if is_chunked is None:
            is_chunked = cycle.scope["http_version"] == "1.1"
        try:
            descriptor = self._transport.get_extra_info("socket").fileno()
            self._is_attached = self._session.subscription.attach(descriptor, is_chunked, self._patience, self)
        except (Exception, asyncio.CancelledError):
            if _seldom.is_due("direct"):
                _log.warning("a stream goes its ordinary way: direct fan-out has failed", exc_info=True)
            self._give_up()

    def _has_unsent(self) -> bool:
        """Then it is looked at again, and not for ever."""
        return not self._cycle.disconnected and self._unsent.watch(self._settle, self._drop_stuck)

    def _drop_stuck(self) -> None:
        if not self._is_attached:  # it may have become so meanwhile
            self.released("stuck", b"")

    def _abort(self) -> None:
        self._cycle.disconnected = True  # or the server complains of each part that a closed transport gets
        self._transport.abort()

    def _write(self, rest: bytes) -> None:
        try:
            if rest and not self._transport.is_closing():
                self._transport.write(rest)
        except BaseException:  # it is lost, so what comes behind it must not be sent
            self._abort()
            raise

    def _give_up(self) -> None:
        """The stream goes on in its ordinary way."""
        sender, self._sender = self._sender, None
        if sender is None:
            return
        sender.offer = None
        self._expected.clear()
        self._unsent.forget()
        self._protocol.sse_release(self)
