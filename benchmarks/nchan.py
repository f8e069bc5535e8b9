"""nginx with nchan. It has no application: the harness publishes, over one connection that it keeps."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from string import Template
from typing import Any

import msgspec
from apps.payload import Payloads
from contestants import Contestant
from process import APPS
from server import HOST, PATIENCE, Server

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
HEADERS = {"X-EventSource-Event": "update", "Content-Type": "application/json", "Accept": "application/json"}


def nginx() -> str | None:
    """The program, if it and the module are there."""
    return shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") if MODULE.exists() else None


class Nchan(Server):
    def __init__(self, contestant: Contestant) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._payloads = Payloads()
        super().__init__(contestant, nginx=str(nginx()), folder=self._folder.name)

    def _prepare(self) -> None:
        self._publisher = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        template = Template((APPS / "nchan.conf").read_text())
        file = Path(self._folder.name, "nginx.conf")
        file.write_text(template.substitute(port=self.port, folder=self._folder.name))

    def status(self) -> dict[str, int]:
        status, body = self._request("GET")
        return {"clients": json.loads(body)["subscribers"] if status == 200 else 0}  # 404: nobody has come yet

    def paced(self, events: int, rate: int, size: int = 0) -> None:
        start = time.monotonic()
        for index in range(events):
            time.sleep(max(0.0, start + index / rate - time.monotonic()))
            self._publish(self._payloads.next(size))

    def burst(self, events: int, yields: bool = False) -> None:
        """Either way one by one: each is a request."""
        for data in self._payloads.burst(events):
            self._publish(data)

    def _publish(self, data: dict[str, Any]) -> None:
        status, _ = self._request("POST", msgspec.json.encode(data))
        if status not in (201, 202):  # with and without subscribers
            raise RuntimeError(f"nchan did not take an event: {status}")

    def _request(self, method: str, body: bytes | None = None) -> tuple[int, bytes]:
        try:
            self._publisher.request(method, "/publish", body, HEADERS)
            response = self._publisher.getresponse()
            return response.status, response.read()
        except ConnectionError:
            self._publisher.close()  # or it takes no other request
            raise

    def stop(self) -> None:
        super().stop()
        self._folder.cleanup()
