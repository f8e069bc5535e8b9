"""Server-sent events to every connected browser: the Broadcaster of the fastware framework, with its hot path in C.

    from fastware_sse import Broadcaster, sse_route

Importing this imports neither fastware nor any server.
"""

try:
    from . import _fork
except ImportError:
    from importlib.util import find_spec

    if find_spec(f"{__name__}._core") is not None:
        raise
    raise ImportError(
        f"fastware_sse is not built in {__path__[0]}: if this is a checkout's root, run Python in another folder, or "
        "pip install -e . here"
    ) from None
from ._client import Client
from ._install import install
from ._resume import Start
from .broadcaster import Broadcaster, sse_route

__all__ = ["Broadcaster", "Client", "Start", "install", "sse_route"]

__version__ = "0.1.0"

_fork.watch()
