"""One uvicorn.run() after another, for each of the ports given, with one Broadcaster for all of them."""

import signal
import sys

import uvicorn
from fastware_app import app


def on_sigterm(number, frame):
    """uvicorn raises the signal again once it has stopped, which by default would end the process there."""


signal.signal(signal.SIGTERM, on_sigterm)
for port in sys.argv[1:]:
    uvicorn.run(app, port=int(port), access_log=False)
    assert signal.getsignal(signal.SIGTERM) is on_sigterm
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
print("all runs are over")
