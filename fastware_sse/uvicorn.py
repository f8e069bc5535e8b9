"""uvicorn's protocol class with a direct way from a Broadcaster to the sockets:

    uvicorn --http fastware_sse.uvicorn:Protocol app:app

Everything else is uvicorn's own. What it takes of that beyond the documented is checked when this is imported; where it
has changed, Protocol is uvicorn's, and streams go their ordinary way.
"""

from __future__ import annotations

import logging
from types import ModuleType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ._core import Handoff, Wrapper
from ._extra import extra

with extra("uvicorn"):
    import uvicorn
    import uvicorn.protocols.http.h11_impl as h11_impl

if TYPE_CHECKING:
    from ._direct import Offer

try:
    import uvicorn.protocols.http.httptools_impl as httptools_impl
except ImportError:
    httptools_impl = None  # type: ignore[assignment]

__all__ = ["Protocol", "run"]

_STASH = 65_536  # bytes that a client may send while it has a stream
_PATIENCE = 1.0  # seconds for a stream to end once the server stops
_TURNS = 4  # of the loop, until it has made the connections that it had accepted before: asyncio takes two

_PROTOCOL = {"app", "connections", "flow", "loop", "server_state", "transport"}
_CYCLE = {"disconnected", "keep_alive", "message_event", "more_body", "response_complete", "scope", "transport"}
_METHODS = ("connection_lost", "connection_made", "data_received", "handle_websocket_upgrade", "shutdown")

_log = logging.getLogger("fastware_sse")
_ending: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # the states of servers that stop, with their loops


class _Direct:
    """To be mixed in before uvicorn's class. Its own names begin with sse, and have places of their own: in the dict
    of uvicorn's object they would make it grow by more than a kilobyte."""

    __slots__ = ("_sse_stash", "_sse_wrapper", "sse_owner")

    # Of uvicorn's class
    app: Any
    connections: set[Any]
    cycle: Any
    flow: Any
    loop: Any
    server_state: Any
    transport: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sse_wrapper = self.app = Wrapper(self.app, self)
        self.sse_owner: Offer | None = None  # the stream that owns the open response
        # What the client has sent meanwhile: answered in the middle of a stream, it would break it.
        self._sse_stash = b""

    def data_received(self, data: bytes) -> None:
        if self.sse_owner is None and not self._sse_stash:
            super().data_received(data)  # type: ignore[misc]
            return
        self._sse_stash += data
        if len(self._sse_stash) > _STASH:  # if it were left in the socket, nobody would see the connection's end
            self.transport.abort()

    def handle_websocket_upgrade(self, *args: Any) -> None:
        """While a response is open, httptools' protocol would give its connection away under it."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
        else:
            super().handle_websocket_upgrade(*args)  # type: ignore[misc]

    def sse_release(self, offer: Offer) -> None:
        """The response of `offer` is complete, or no direct one."""
        if self.sse_owner is not offer:
            return
        self.sse_owner = None
        if self._sse_stash:
            self.loop.call_soon(self._sse_feed)

    def _sse_feed(self) -> None:
        if self.sse_owner is None and self._sse_stash:
            data, self._sse_stash = self._sse_stash, b""
            if not self.transport.is_closing():
                self.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        owner, self.sse_owner = self.sse_owner, None
        self._sse_stash = b""
        try:
            if owner is not None:
                owner.lost()
            else:
                self._sse_tell_current()
        finally:
            super().connection_lost(exc)  # type: ignore[misc]
            self._sse_wrapper.release()

    def _sse_tell_current(self) -> None:
        """httptools' protocol tells its newest request alone, and that may wait for the one that is answered."""
        cycle = self._sse_cycle
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()

    @property
    def _sse_cycle(self) -> Any:
        """That of the response that is open, or None."""
        handoff = self._sse_wrapper.current
        sender = None if handoff is None else handoff.sender
        cycle = None if sender is None else sender.send.__self__  # type: ignore[attr-defined]
        return None if cycle is None or cycle.response_complete else cycle

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        if _ending.get(self.server_state) is self.loop:
            self.shutdown()

    def shutdown(self) -> None:
        if _ending.get(self.server_state) is not self.loop:
            _ending[self.server_state] = self.loop
            _forget(self.loop, self.server_state, _TURNS)
        self._sse_wrapper.is_ending = True
        super().shutdown()  # type: ignore[misc]
        handoff, cycle = self._sse_wrapper.current, self._sse_cycle
        self._sse_expect_end()
        if handoff is None or cycle is None:
            return
        handoff.is_ending = True
        cycle.keep_alive = False
        for stream in handoff.streams:
            self.loop.call_soon(stream.stop)  # not here, in a task of the server's

    def _sse_expect_end(self) -> None:
        """The last bytes of a stream may wait for a client that reads nothing. One may also begin only now."""
        handoff = self._sse_wrapper.current
        self.loop.call_later(_PATIENCE, self._sse_look, None if handoff is None or not handoff.had_stream else handoff)

    def _sse_look(self, handoff: Handoff | None) -> None:
        if self not in self.connections:
            return
        if handoff is not None and handoff is self._sse_wrapper.current:
            self.transport.abort()
        else:
            self._sse_expect_end()


def _forget(loop: Any, server_state: Any, turns: int) -> None:
    """A server may serve again."""
    if turns == 0:
        _ending.pop(server_state, None)
    else:
        loop.call_soon(_forget, loop, server_state, turns - 1)


def _is_known(module: ModuleType, protocol: type) -> bool:
    """Whether what we take of uvicorn is there."""
    cycle = module.RequestResponseCycle
    return (
        _PROTOCOL.issubset(protocol.__init__.__code__.co_names)  # type: ignore[misc]
        and _CYCLE.issubset(cycle.__init__.__code__.co_names)
        and all(name in vars(protocol) for name in _METHODS)
        and hasattr(cycle, "send")
    )


def _protocol_of(module: ModuleType, name: str) -> type:
    protocol: type = getattr(module, name)
    if _is_known(module, protocol):
        return type("Protocol", (_Direct, protocol), {"__doc__": __doc__, "__module__": __name__})
    _log.warning("this uvicorn (%s) is not known to fastware_sse: streams go their ordinary way", uvicorn.__version__)
    return protocol


# As uvicorn's "auto" chooses.
Protocol = (
    _protocol_of(h11_impl, "H11Protocol")
    if httptools_impl is None
    else _protocol_of(httptools_impl, "HttpToolsProtocol")
)


def run(app: Any, **options: Any) -> None:
    """uvicorn.run() with Protocol. `options` as there, but for `http`."""
    uvicorn.run(app, http="fastware_sse.uvicorn:Protocol", **options)
