"""A user's credentials for NATS: a .creds file with his JWT, and the seed of the key that signs for it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from nats.aio.client import RawCredentials

from ._extra import extra
from .backplane import BackplaneRefused

_PART = r"BEGIN {}-+\n(.+)\n"


def checked_credentials(path: str | None) -> str | None:
    """Raises TypeError, and ImportError where the client library could not use them."""
    if path is not None and not isinstance(path, str):
        raise TypeError(f"credentials must be the path of a .creds file or None, not {type(path).__name__}")
    if path is not None:
        _nkeys()
    return path


def credentials_in(path: str | None) -> RawCredentials | None:
    """To be called for each connection, since the file may be renewed. Raises BackplaneRefused.

    The client library looks for ever for a JWT that is not there.
    """
    if path is None:
        return None
    try:
        text = Path(path).read_text()
        jwt, seed = (re.search(_PART.format(part), text) for part in ("NATS USER JWT", "USER NKEY SEED"))
        if jwt is None or seed is None:
            raise ValueError("a user's JWT or seed is not there")
        _nkeys().from_seed(bytearray(seed[1].encode()))
    except Exception as error:
        raise BackplaneRefused(f"the credentials in {path!r} cannot be used: {error}") from error
    return RawCredentials(text)


def _nkeys() -> Any:
    """What the client library signs with, without requiring it."""
    with extra("nats"):
        return importlib.import_module("nkeys")
