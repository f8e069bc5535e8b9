"""The warning that other workers get none of the events: by the environment. By servers: tests/e2e."""

import pytest
from support import connect, permissive

from fastware_sse import _workers


@pytest.mark.parametrize(
    ("value", "warns"), [("2", True), ("16", True), ("1", False), ("0", False), ("", False), ("many", False)]
)
async def test_web_concurrency(
    value: str, warns: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", value)
    monkeypatch.setattr(_workers, "_has_looked", False)
    clients = [await connect(permissive()) for _ in range(3)]
    texts = [record.getMessage() for record in caplog.records]
    assert texts == warns * [
        f"WEB_CONCURRENCY is {value}: each worker has clients and events of its own, and a broadcast reaches no "
        "others; give the Broadcaster a backplane=..., or run one worker"
    ]
    for client in clients:
        await client.leave()
