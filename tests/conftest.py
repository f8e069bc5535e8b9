"""How the tests run: an `async def` test has its own event loop, and fails with whatever that loop was told of."""

import asyncio
import inspect
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "vectors"))  # decoder.py and load.py, verbatim copies


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    faults = []
    with asyncio.Runner(loop_factory=getattr(pyfuncitem.module, "loop_factory", None)) as runner:
        # Nobody awaits a callback, so what it raises would pass unseen.
        runner.get_loop().set_exception_handler(lambda _, context: faults.append(context))
        runner.run(pyfuncitem.obj(**arguments))
    assert not faults, f"the event loop was told of: {faults}"
    return True
