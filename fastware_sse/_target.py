"""What the load client is pointed at: a URL, its addresses, the request; and how many streams this process may hold."""

from __future__ import annotations

import ipaddress
import os
import re
import resource
import socket
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, urlsplit

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PATH_SAFE = "/%:@!$&'()*+,;=~-._?"
_NOT_YOURS = {"content-length", "last-event-id", "transfer-encoding"}  # the client's own, or those of a body
_SPARE_FILES = 8  # for what else the process opens meanwhile


class Target(NamedTuple):
    host: str
    port: int
    path: str
    """With the query; what stands in the request line."""
    authority: str
    """What stands in the Host header."""


def parse_url(url: str) -> Target:
    """Raises ValueError, in words for the user."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        raise ValueError("https is not supported: point it at the app itself, behind whatever ends TLS")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"not an http:// URL: {url!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with a user name is not supported: use --header 'Authorization: ...'")
    host = parts.hostname
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    port = parts.port  # raises ValueError itself
    path = quote(parts.path or "/", safe=_PATH_SAFE)
    if parts.query:
        path += "?" + quote(parts.query, safe=_PATH_SAFE)
    name = f"[{host}]" if ":" in host else host
    return Target(host, 80 if port is None else port, path, name if port is None else f"{name}:{port}")


def resolve(target: Target) -> list[tuple[str, str]]:
    """All addresses, numeric and without repetition. Raises ValueError if there are none."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"cannot resolve {target.host}: {error.strerror}") from None
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    return list(dict.fromkeys(socket.getnameinfo(address, flags) for *_, address in found))


def is_loopback(host: str) -> bool:
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def request_head(target: Target, headers: Iterable[str]) -> bytes:
    """The request but for its last, empty line. Raises ValueError for a header that could not be sent as it is."""
    lines = {"host": f"Host: {target.authority}", "accept": "Accept: text/event-stream"}
    lines["cache-control"] = "Cache-Control: no-store"
    lines["user-agent"] = "User-Agent: fastware-sse-load"
    more = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"not a header 'Name: value': {header!r}")
        if name.lower() in _NOT_YOURS:
            raise ValueError(f"the header {name} cannot be set")
        lines.pop(name.lower(), None)
        more.append(f"{name}: {value.strip()}")
    return "\r\n".join([f"GET {target.path} HTTP/1.1", *lines.values(), *more, ""]).encode("latin-1")


def raise_file_limit() -> int:
    """Raise the limit of open files as far as it goes; return how many more sockets fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(0, hard - len(os.listdir("/proc/self/fd")) - _SPARE_FILES)
