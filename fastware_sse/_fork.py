"""After a fork the child has no clients: those are the parent's, and so are their sockets and event loops."""

from __future__ import annotations

import os

from . import _background, _core, _exit


def watch() -> None:
    """To be called once in a process. What a forked child starts over with is said in csrc/py/fork.h."""
    os.register_at_fork(after_in_child=_start_over)


def _start_over() -> None:
    _exit.forget()
    _background.forget()
    for broadcaster in _core._broadcasters():
        broadcaster._start_over()
