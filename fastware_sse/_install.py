"""install(): puts our names in the place of fastware's own."""

from __future__ import annotations

import gc
import sys
import warnings

from ._extra import extra
from .broadcaster import Broadcaster, sse_route


def install() -> None:
    """Make `from fastware import Broadcaster, sse_route` (and `from fastware.sse import ...`) give ours.

    Call it before the imports that it is meant for. A name that was imported earlier stays the original, and so does
    the Broadcaster of an app that create_app() has made already: a RuntimeWarning says so. Idempotent.

    Raises ImportError if fastware is not installed.
    """
    with extra("fastware"):
        import fastware
        import fastware.sse

    original: type = fastware.sse.Broadcaster
    original_route: object = fastware.sse.sse_route
    if original is Broadcaster:
        return
    for module in (fastware, fastware.sse):
        vars(module).update(Broadcaster=Broadcaster, sse_route=sse_route)

    late = sorted(
        name
        for name, module in list(sys.modules.items())
        if any(value is original or value is original_route for value in list(getattr(module, "__dict__", {}).values()))
    )
    if late:
        _warn(f"these modules imported the original names before install(): {', '.join(late)}")
    if any(type(candidate) is original for candidate in gc.get_objects()):
        _warn("a Broadcaster of fastware's own was made before install() (create_app() makes one), and stays in use")


def _warn(what: str) -> None:
    warnings.warn(f"fastware_sse.install() came too late: {what}", RuntimeWarning, stacklevel=3)
