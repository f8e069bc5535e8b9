"""Server-sent events to every connected browser: the Broadcaster of the fastware framework, with its hot path in C.

    from fastware_sse import Broadcaster, sse_route

Importing this imports neither fastware nor any server.
"""

from . import _fork
from ._client import Client
from ._install import install
from ._resume import Start
from .broadcaster import Broadcaster, sse_route

__all__ = ["Broadcaster", "Client", "Start", "install", "sse_route"]

__version__ = "0.1.0"

_fork.watch()
