"""Several workers: a warning, from each of them that can know."""

import pytest
from servers import Kind, granian, running, uvicorn

pytestmark = pytest.mark.e2e

WARNING = "each worker has clients and events of its own"


def gunicorn(workers: int) -> Kind:
    options = ["-k", "uvicorn_worker.UvicornWorker", "-w", str(workers), "-b", "127.0.0.1:{port}", "{app}:app"]
    return Kind(f"gunicorn-{workers}", ["-m", "gunicorn", *options])


@pytest.mark.parametrize(
    ("kind", "sign"),
    [
        (gunicorn(2), "gunicorn runs 2 workers"),
        (uvicorn("asyncio", "h11", "--workers", "2"), "uvicorn runs 2 workers"),
        (granian("asyncio", "--workers", "2"), "this is granian's worker 2"),
    ],
    ids=["gunicorn", "uvicorn", "granian"],
)
async def test_a_worker_among_several_says_that_events_do_not_reach_the_others(kind: Kind, sign: str) -> None:
    async with running(kind, "asgi_knobs") as server:
        while sign not in server.log:  # which of them takes a connection is the kernel's choice
            stream = await server.stream()
            await stream.until(lambda stream=stream: stream.size > 0)
        assert f"{sign}: {WARNING}" in server.log


@pytest.mark.parametrize("kind", [gunicorn(1), uvicorn("asyncio", "h11"), granian("asyncio")], ids=str)
async def test_the_only_worker_says_nothing(kind: Kind) -> None:
    async with running(kind, "asgi_knobs") as server:
        stream = await server.stream()
        await stream.until(lambda: stream.size > 0)
        assert WARNING not in server.log
