"""A small HTTP/2 client (RFC 9113): streams that share a connection, and each of which can be reset.

It stands on frames and header compression alone. A whole library for HTTP/2 takes a GOAWAY for the end, but a server
that is told to stop sends it first and ends its streams after it.
"""

import json
from typing import Any

import hpack
from client import ProtocolError, Response, Wire
from hyperframe import frame as frames
from hyperframe.exceptions import HyperframeError

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = 9  # bytes of a frame before its payload
_CANCEL = 8  # RFC 9113, 7


class Http2Connection(Wire):
    """One connection. What arrives is acknowledged at once, so the windows stay open for as long as it reads."""

    def __init__(self) -> None:
        super().__init__()
        self._received = bytearray()
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._streams: dict[int, Response] = {}
        self._next = 1

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.write(_PREFACE)
        self._write(frames.SettingsFrame(0))

    def send(self, method: str, target: str, data: Any = None) -> Response:
        scheme = "http" if self._transport.get_extra_info("ssl_object") is None else "https"
        fields = [(":method", method), (":scheme", scheme), (":authority", "localhost"), (":path", target)]
        if data is not None:
            fields.append(("content-type", "application/json"))
        number, self._next = self._next, self._next + 2
        flags = ["END_HEADERS", *(["END_STREAM"] if data is None else [])]
        self._write(frames.HeadersFrame(number, self._encoder.encode(fields), flags=flags))
        if data is not None:
            self._write(frames.DataFrame(number, json.dumps(data).encode(), flags=["END_STREAM"]))
        response = self._streams[number] = Response(self, method)
        return response

    def reset_stream(self, response: Response) -> None:
        """What a browser does when one of its pages closes its EventSource."""
        (number,) = [number for number, each in self._streams.items() if each is response]
        self._write(frames.RstStreamFrame(number, _CANCEL))

    def take(self, data: bytes) -> None:
        self._received += data
        try:
            while len(self._received) >= _HEAD:
                frame, size = frames.Frame.parse_frame_header(memoryview(bytes(self._received[:_HEAD])))
                if len(self._received) < _HEAD + size:
                    break
                frame.parse_body(memoryview(bytes(self._received[_HEAD : _HEAD + size])))
                del self._received[: _HEAD + size]
                self._handle(frame)
        except (HyperframeError, hpack.HPACKError) as error:
            raise ProtocolError(str(error)) from error

    def rest(self) -> bytes:
        return bytes(self._received)

    def _handle(self, frame: frames.Frame) -> None:
        match frame:
            case frames.SettingsFrame() | frames.PingFrame():
                if "ACK" not in frame.flags:
                    data = {"opaque_data": frame.opaque_data} if isinstance(frame, frames.PingFrame) else {}
                    self._write(type(frame)(0, flags=["ACK"], **data))
            case frames.HeadersFrame():
                assert "END_HEADERS" in frame.flags  # heads this small fit into one frame
                response = self._streams[frame.stream_id]
                response.headers = dict(self._decoder.decode(frame.data))
                response.status = int(response.headers.pop(":status"))
                response.complete = "END_STREAM" in frame.flags
            case frames.DataFrame():
                response = self._streams[frame.stream_id]
                if frame.data:
                    response.add(frame.data)
                response.complete = "END_STREAM" in frame.flags
                if frame.flow_controlled_length:
                    for number in (0, frame.stream_id):
                        self._write(frames.WindowUpdateFrame(number, frame.flow_controlled_length))
            case frames.RstStreamFrame():
                raise ProtocolError(f"the server has reset stream {frame.stream_id}: {frame.error_code}")
            case frames.GoAwayFrame():
                if frame.error_code:
                    raise ProtocolError(f"the server closes the connection: {frame.error_code}")
            case frames.WindowUpdateFrame():
                pass
            case _:
                raise ProtocolError(f"not expected: {frame}")

    def _write(self, frame: frames.Frame) -> None:
        self._transport.write(frame.serialize())
