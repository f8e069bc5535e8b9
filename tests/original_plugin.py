"""A pytest plugin for the tests of the original: puts our Broadcaster in its place before they are collected."""

import functools

import fastware
import fastware.sse
import pytest

import fastware_sse

made = {"ours": 0, "original": 0}


def count(kind: type, name: str) -> None:
    init = kind.__init__

    @functools.wraps(init)
    def counting_init(self, *arguments, **keywords):
        made[name] += 1
        init(self, *arguments, **keywords)

    kind.__init__ = counting_init


count(fastware.sse.Broadcaster, "original")
fastware_sse.install()
count(fastware.sse.Broadcaster, "ours")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    for module in (fastware, fastware.sse):
        assert module.Broadcaster is fastware_sse.Broadcaster
        assert module.sse_route is fastware_sse.sse_route


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"Broadcasters made: {made['ours']} of ours, {made['original']} of the original")
