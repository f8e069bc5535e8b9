"""A server that costs next to nothing, to measure the load client: it writes prepared buffers and formats nothing.

    python burst_server.py PORT EVENTS [chunked]

Every stream gets the same EVENTS events of about 120 bytes of JSON, numbered, as fast as it takes them, and stays open.
`chunked` frames each event as a chunk of its own, as most servers do. EVENTS = 0 holds idle streams.
"""

import resource
import select
import socket
import sys
import time

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%s\r\n"
PIECE = 1 << 18


def prepared(events: int, is_chunked: bool) -> bytes:
    body = bytearray()
    for number in range(events):
        data = f'{{"seq":{number},"ts":{time.time():.6f},"kind":"update","text":"{"x" * 50}","price":{number % 977}}}'
        event = f"event: update\ndata: {data}\n\n".encode()
        body += b"%x\r\n%s\r\n" % (len(event), event) if is_chunked else event
    return HEAD % (b"transfer-encoding: chunked\r\n" if is_chunked else b"") + bytes(body)


def main(port: int, events: int, is_chunked: bool) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    answer = memoryview(prepared(events, is_chunked))
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    streams: dict[int, socket.socket] = {}
    sent: dict[int, int] = {}
    while True:
        for fd, notice in epoll.poll():
            if fd == listener.fileno():
                stream, _ = listener.accept()
                stream.setblocking(False)
                streams[stream.fileno()] = stream
                epoll.register(stream, select.EPOLLIN)
            elif notice & (select.EPOLLHUP | select.EPOLLERR) or notice & select.EPOLLIN and not streams[fd].recv(4096):
                epoll.unregister(fd)
                streams.pop(fd).close()
                sent.pop(fd, None)
            elif notice & select.EPOLLOUT:
                sent[fd] += streams[fd].send(answer[sent[fd] : sent[fd] + PIECE])
                if sent[fd] == len(answer):
                    epoll.modify(fd, select.EPOLLIN)
            elif fd not in sent:
                sent[fd] = 0
                epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["chunked"])
