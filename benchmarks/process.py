"""A process on a core of its own: what it has used of the processor and of memory, and its end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

CORES = os.sched_getaffinity(0)
CLIENT_CORE, SERVER_CORE = {min(CORES)}, {max(CORES)}

HERE = Path(__file__).resolve().parent
APPS = HERE / "apps"
BUILD = HERE / "build"

STILL = 0.05  # seconds without work, twice in a row, after which it stands still
LITTLE = 0.001  # seconds of the processor in that time that a server's own timers may take


class Process:
    def __init__(
        self, command: list[str], core: set[int], *, environ: Mapping[str, str] | None = None, output: int | None = None
    ) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=APPS,
            env=os.environ | (environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if output is None else output,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a group of its own, to end its workers with it
            text=True,
        )
        os.sched_setaffinity(self.process.pid, core)  # inherited by workers and by all threads
        self.pid = self.process.pid

    def cpu(self) -> float:
        """Seconds of processor time that the process has used, all threads."""
        return sum(int(text.split()[0]) for text in self._of_threads("schedstat")) / 1e9

    def _wants_to_run(self) -> bool:
        return any(text.rpartition(") ")[2].startswith("R") for text in self._of_threads("stat"))

    def _of_threads(self, name: str) -> Iterator[str]:
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                yield (thread / name).read_text()

    def rss(self) -> int:
        """Resident bytes."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(rollup.split("Rss:")[1].split()[0]) * 1024

    def settle(self, patience: float = 300) -> None:
        """Wait until it has nothing more to do. Using no processor is not enough: others may have kept it from it."""
        deadline = time.monotonic() + patience
        still, before = 0, self.cpu()
        while still < 2:
            if time.monotonic() > deadline:
                raise RuntimeError("a process does not come to rest")
            time.sleep(STILL)
            now = self.cpu()
            still = still + 1 if now - before < LITTLE and not self._wants_to_run() else 0
            before = now

    def stop(self) -> None:
        """End it and its workers, and wait until they have gone."""
        try:
            worker = os.pidfd_open(self.pid)
        except ProcessLookupError:
            worker = None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if worker is not None:
            select.select([worker], [], [])
            os.close(worker)
