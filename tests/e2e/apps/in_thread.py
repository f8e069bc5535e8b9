"""asgi_knobs, served on the port given by fastware's server in a thread of this process."""

import sys
import threading

from asgi_knobs import app
from fastware import serve

serve(app, foreground=False, host="127.0.0.1", port=int(sys.argv[1]))
threading.Event().wait()
